"""A finished feature cache in a store: brought there once, and fetched by each node that has a disk of its own."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data.cache.feature_cache import FeatureCache
from data.cache.files import MANIFEST, CacheError, files_of, is_undamaged, read_manifest
from data.store import Store
from data.system.disk import check_room
from data.system.files import SUFFIX
from data.system.locks import Lock

_CARRIERS = 8
"""Threads: one alone leaves a network half idle."""


def keep_in_store(folder: Path, place: Store) -> bool:
    """Bring a cache to ``place``, its manifest last; False where it is there already.

    Raises:
        StoreError: the store fails.
    """
    if place.read(MANIFEST) is not None:
        return False
    with ThreadPoolExecutor(_CARRIERS) as carriers:
        names = [entry["file"] for entry in files_of(read_manifest(folder))]
        list(carriers.map(lambda name: place.upload(folder / name, name), names))
    place.upload(folder / MANIFEST, MANIFEST)
    return True


def fetch_from_store(place: Store, folder: Path) -> None:
    """See that ``folder`` holds the cache that is in ``place``. The first process of a machine fetches it, others wait.

    Raises:
        CacheError: it is not in the store, or arrives damaged.
        StoreError: the store fails.
        OSError: the disk is full, or will be.
    """
    if _is_whole(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder.with_name(f"{folder.name}.lock"), wait=True):
        if _is_whole(folder):
            return
        shutil.rmtree(folder)
        _fetch(place, folder)


def _fetch(place: Store, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}{SUFFIX}")
    shutil.rmtree(partial, ignore_errors=True)
    if not place.download(MANIFEST, partial / MANIFEST):
        raise CacheError(f"{place}: no feature cache there.")
    entries = list(files_of(read_manifest(partial)))
    check_room(partial, sum(entry["bytes"] for entry in entries), "the cache needs")

    def bring(entry: dict[str, Any]) -> None:
        name = entry["file"]
        if not place.download(name, partial / name) or not is_undamaged(partial, entry):
            raise CacheError(f"{place / name}: missing or damaged; delete {place}, and the search uploads it again.")

    with ThreadPoolExecutor(_CARRIERS) as carriers:
        list(carriers.map(bring, entries))
    partial.rename(folder)


def _is_whole(folder: Path) -> bool:
    try:
        FeatureCache(folder).verify(reread=False)
    except CacheError:
        return False
    return True
