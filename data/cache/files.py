"""A feature cache on a disk: NumPy shards, each with a JSON beside it that holds its checksums, and last a manifest.

Each trial reads the manifest. What is asked of the images alone, when a search begins, is in a file beside it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.digests import MEMORY, FileDigests
from data.system.errors import UserError
from data.system.files import whole_file, write_text
from data.system.json_file import read_json

MANIFEST = "manifest.json"
SEEN = "seen.json"
"""The digest of each image, the classes of its labels, and how many labels there are of each."""
FORMAT = 4
CURE = "delete it, and `dpc cache` rebuilds it"


class CacheError(UserError):
    """A feature cache that is missing, unfinished or damaged: the message names the file and the cure."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a finished cache says of itself.

    Raises:
        CacheError: it is missing or damaged.
    """
    try:
        manifest = read_json(folder / MANIFEST)
        assert manifest["format"] == FORMAT
        for entry in files_of(manifest):  # it may have been written by anybody who can write to the shared folder
            assert Path(entry["file"]).name == entry["file"], f"{entry['file']!r} is not a plain name"
    except FileNotFoundError:
        raise CacheError(f"{folder}: no finished feature cache here; `dpc cache` builds it.") from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise CacheError(f"{folder / MANIFEST}: damaged ({error}); {CURE}.") from error
    return dict(manifest)


def files_of(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of its files: name, bytes, checksum."""
    for shard in manifest["shards"]:
        yield from (shard["features"], shard["labels"])
    yield manifest["seen"]


def has_size(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a file is there and as long as its entry says."""
    path = folder / entry["file"]
    return path.exists() and path.stat().st_size == entry["bytes"]


def wrong_files(folder: Path, manifest: Mapping[str, Any], *, reread: bool = False) -> list[dict[str, Any]]:
    """The entries of files that are not there or hold something else.

    Args:
        reread: every byte; else only what was written to since it was last read.
    """
    entries = list(files_of(manifest))
    there = [entry for entry in entries if has_size(folder, entry)]
    digests = FileDigests(None if reread else folder / MEMORY, "sha256").of([folder / entry["file"] for entry in there])
    whole = {entry["file"] for entry, digest in zip(there, digests, strict=True) if digest == entry["sha256"]}
    return [entry for entry in entries if entry["file"] not in whole]


def is_undamaged(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a file has the checksum of its entry."""
    try:
        with (folder / entry["file"]).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]
    except OSError:
        return False


def write_array(path: Path, array: npt.NDArray[Any]) -> dict[str, Any]:
    """Write a shard's file, and return its entry.

    Raises:
        CacheError: a feature is not finite.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CacheError(f"{path}: the backbone's features are not finite in {array.dtype}; try cache.dtype=float32.")
    array = np.ascontiguousarray(array)
    header = _npy_header(array)
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header)
        file.write(array.data)  # np.save would hide a full disk behind "N requested and M written"
    checksum = hashlib.sha256(header)
    checksum.update(array.data)
    return {
        "file": path.name,
        "shape": array.shape,
        "bytes": len(header) + array.nbytes,
        "sha256": checksum.hexdigest(),
    }


def write_seen(folder: Path, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Write what was seen of the images, and return its entry."""
    text = json.dumps(seen)
    write_text(folder / SEEN, text)
    return {"file": SEEN, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _npy_header(array: npt.NDArray[Any]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    return file.getvalue()
