"""What travels to a cluster with a job: the packages of a checkout, and code of one's own."""

import json
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from cluster.environment import FILE
from cluster.errors import SubmitError

UPLOADED_FOLDERS = ("dpc", "search", "cluster", "training", "models", "data", "conf")
UPLOAD_LIMIT_MIB = 100  # the jobs API answers HTTP 413 above this (DASHBOARD_CLIENT_MAX_SIZE)
OWNER_ONLY = (stat.S_IFREG | 0o600) << 16  # Ray unpacks a file with the mode that its archive says


def files_to_upload(working_dir: Path, code: Sequence[Path] = ()) -> dict[Path, Path]:
    """The files that a job needs, by their place in its folder.

    Args:
        code: modules and packages of one's own, which lie beside those of the checkout there.

    Raises:
        SubmitError: it is no checkout, some code has the name of a package of it, or all is too large for the jobs API.
    """
    if not (working_dir / "search").is_dir():
        raise SubmitError(f"working_dir: must be a checkout of dpc-search, but {working_dir} has no folder search/.")
    for path in code:
        if path.stem in UPLOADED_FOLDERS:
            raise SubmitError(
                f"code: {path.name} would hide a package of dpc-search, or be hidden by it; give it another name."
            )
    files = {}
    for root in [*(working_dir / folder for folder in UPLOADED_FOLDERS), *code]:
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            below = path.relative_to(root)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in below.parts):
                files[root.name / below] = path
    if size_of(files) > UPLOAD_LIMIT_MIB * 2**20:
        items: Counter[str] = Counter()
        for place, path in files.items():
            items["/".join(place.parts[:2])] += path.stat().st_size
        largest = ", ".join(f"{item} ({mib(size)})" for item, size in items.most_common(3))
        raise SubmitError(
            f"working_dir: a job takes at most {UPLOAD_LIMIT_MIB} MiB of files, these have {mib(items.total())}; "
            f"move data out of the packages. Largest: {largest}."
        )
    return files


def size_of(files: Mapping[Path, Path]) -> int:
    """Bytes of some files in all."""
    return sum(path.stat().st_size for path in files.values())


def pack(files: Mapping[Path, Path], env_vars: Mapping[str, str], folder: Path) -> Path:
    """An archive of exactly these files: Ray's own packing takes all but its excludes and what ignore files name."""
    package = folder / "dpc-search.zip"
    with ZipFile(package, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
        for place, path in files.items():
            archive.write(path, place)
        if env_vars:
            variables = ZipInfo(FILE)
            variables.external_attr = OWNER_ONLY
            archive.writestr(variables, json.dumps(dict(env_vars)))
    return package


def mib(size_bytes: int) -> str:
    """A size as a person reads it."""
    return f"{size_bytes / 2**20:.1f} MiB"
