"""A node's own copy of a finished feature cache, on a disk that is faster than the storage that nodes share."""

import shutil
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data.cache.files import MANIFEST, CacheError, files_of, has_size, read_manifest, wrong_files
from data.system.disk import check_room
from data.system.files import SUFFIX, whole_file
from data.system.locks import Lock

_COPIERS = 8
"""Threads that copy: one alone leaves a network half idle."""


def local_copy(folder: Path, local: Path) -> Path:
    """The copy below ``local`` of the cache in ``folder``. The first process that asks makes it, others wait.

    Every byte is checked when it arrives, and again once its file was written to; what is missing or damaged is copied anew.

    Raises:
        CacheError: the cache is missing or damaged itself.
        OSError: the disk is full, or will be.
    """
    manifest = read_manifest(folder)
    copy = local / folder.name
    if _is_same(manifest, copy) and not wrong_files(copy, manifest):
        return copy  # of another user, maybe, where a lock cannot be made
    copy.mkdir(parents=True, exist_ok=True)
    with Lock(copy / "copy.lock", wait=True):
        for left_by_a_kill in copy.glob(f"*{SUFFIX}"):
            left_by_a_kill.unlink()
        if wrong := wrong_files(copy, manifest):
            _check_room(copy, wrong)
            with ThreadPoolExecutor(_COPIERS) as copiers:
                list(copiers.map(lambda entry: _copy_file(folder / entry["file"], copy / entry["file"]), wrong))
            for entry in wrong_files(copy, manifest):
                raise CacheError(f"{folder / entry['file']}: arrives damaged at {copy}; `dpc cache` verifies it.")
        if not _is_same(manifest, copy):
            _copy_file(folder / MANIFEST, copy / MANIFEST)
    return copy


def check_local_room(folders: Sequence[Path], local: Path) -> None:
    """Refuse a disk that cannot take the copies of some caches.

    Raises:
        OSError: it is too small, or not writable.
    """
    local.mkdir(parents=True, exist_ok=True)
    missing = []
    for folder in folders:
        missing += [entry for entry in files_of(read_manifest(folder)) if not has_size(local / folder.name, entry)]
    _check_room(local, missing)


def _is_same(manifest: Mapping[str, Any], copy: Path) -> bool:
    try:
        return read_manifest(copy) == manifest
    except CacheError:
        return False


def _check_room(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    check_room(folder, sum(entry["bytes"] for entry in entries), f"the local copy on {socket.gethostname()} needs")


def _copy_file(source: Path, target: Path) -> None:
    """Written beside its place and renamed, so that a process that maps the old file keeps it."""
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
