"""What of a checkout travels to a cluster with a job."""

import json
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from cluster.environment import FILE
from cluster.jobs_api import SubmitError

UPLOADED_FOLDERS = ("search", "cluster", "training", "models", "data", "conf")
UPLOAD_LIMIT_MIB = 100  # the jobs API answers HTTP 413 above this (DASHBOARD_CLIENT_MAX_SIZE)
OWNER_ONLY = (stat.S_IFREG | 0o600) << 16  # Ray unpacks a file with the mode that its archive says


def files_to_upload(working_dir: Path) -> dict[Path, int]:
    """The files of a checkout that a job needs, each with its bytes.

    Raises:
        SubmitError: it is no checkout, or too large for the jobs API.
    """
    if not (working_dir / "search").is_dir():
        raise SubmitError(f"working_dir: must be a checkout of dpc-search, but {working_dir} has no folder search/.")
    files = {
        path: path.stat().st_size
        for folder in UPLOADED_FOLDERS
        for path in sorted((working_dir / folder).rglob("*"))
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(working_dir).parts)
    }
    if sum(files.values()) > UPLOAD_LIMIT_MIB * 2**20:
        items: Counter[str] = Counter()
        for path, size in files.items():
            items["/".join(path.relative_to(working_dir).parts[:2])] += size
        largest = ", ".join(f"{item} ({mib(size)})" for item, size in items.most_common(3))
        raise SubmitError(
            f"working_dir: a job takes at most {UPLOAD_LIMIT_MIB} MiB of files, {working_dir} has "
            f"{mib(items.total())}; move data out of the packages. Largest: {largest}."
        )
    return files


def pack(files: Mapping[Path, int], working_dir: Path, env_vars: Mapping[str, str], folder: Path) -> Path:
    """An archive of exactly these files: Ray's own packing takes all but its excludes and what ignore files name."""
    package = folder / "dpc-search.zip"
    with ZipFile(package, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in files:
            archive.write(path, path.relative_to(working_dir))
        if env_vars:
            variables = ZipInfo(FILE)
            variables.external_attr = OWNER_ONLY
            archive.writestr(variables, json.dumps(dict(env_vars)))
    return package


def mib(size_bytes: int) -> str:
    """A size as a person reads it."""
    return f"{size_bytes / 2**20:.1f} MiB"
