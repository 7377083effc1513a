"""A feature cache that nodes fetch from a store."""

import errno
from functools import partial

import pytest

from data.cache.feature_cache import FeatureCache
from data.cache.files import CacheError
from data.cache.stored_copy import fetch_from_store, keep_in_store
from data.store import Store, StoreError
from search.running.task import PreparedTask


@pytest.fixture
def place(tmp_path):
    return Store(f"file://{tmp_path}/store") / "caches"


def test_a_cache_is_brought_to_the_store_once_and_fetched_byte_for_byte_once(cache, place, tmp_path, monkeypatch):
    assert keep_in_store(cache, place)
    assert not keep_in_store(cache, place)
    there = tmp_path / "there" / cache.name
    fetch_from_store(place, there)
    FeatureCache(there).verify()
    assert {path.name: path.read_bytes() for path in there.glob("*.npy")} == {
        path.name: path.read_bytes() for path in cache.glob("*.npy")
    }
    assert FeatureCache(there).image_digests == FeatureCache(cache).image_digests
    monkeypatch.setattr(Store, "download", lambda *_: pytest.fail("it is here already"))
    fetch_from_store(place, there)


def test_a_cache_that_is_damaged_here_is_fetched_anew(cache, place, tmp_path):
    keep_in_store(cache, place)
    there = tmp_path / "there" / cache.name
    fetch_from_store(place, there)
    content = bytearray((there / "labels-00001.npy").read_bytes())
    content[-1] ^= 1
    (there / "labels-00001.npy").write_bytes(content)
    fetch_from_store(place, there)
    FeatureCache(there).verify()


def test_a_cache_that_was_cut_off_on_its_way_to_the_store_is_none_and_is_brought_anew(cache, place, tmp_path, monkeypatch):
    upload = Store.upload

    def fails_late(store, path, name):
        if name == "labels-00001.npy":
            raise StoreError("gone")
        upload(store, path, name)

    monkeypatch.setattr(Store, "upload", fails_late)
    with pytest.raises(StoreError):
        keep_in_store(cache, place)
    with pytest.raises(CacheError, match="no feature cache there"):
        fetch_from_store(place, tmp_path / "there" / cache.name)
    monkeypatch.setattr(Store, "upload", upload)
    assert keep_in_store(cache, place)
    fetch_from_store(place, tmp_path / "there" / cache.name)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_file_that_arrives_damaged_is_named_and_leaves_no_cache(cache, place, tmp_path, damage):
    keep_in_store(cache, place)
    if damage == "changed":
        place.write("features-00000.npy", bytes(len(place.read("features-00000.npy"))))
    else:
        place.delete("features-00000.npy")
    with pytest.raises(CacheError, match=r"features-00000.npy: missing or damaged; delete .*caches, and the search"):
        fetch_from_store(place, tmp_path / "there" / cache.name)
    with pytest.raises(CacheError, match="no finished feature cache here"):
        FeatureCache(tmp_path / "there" / cache.name)


def test_a_task_begins_once_its_node_has_the_caches(cache, place, tmp_path):
    keep_in_store(cache, place / cache.name)
    there = tmp_path / "there" / cache.name

    def score(cell, seed, checkpoint):
        yield len(FeatureCache(there))

    task = PreparedTask(score, [partial(fetch_from_store, place / there.name, there)])
    assert not there.exists()
    assert list(task(None, 0)) == [6]


def test_a_full_disk_is_told_before_anything_is_fetched(cache, place, tmp_path, monkeypatch):
    keep_in_store(cache, place)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match="the cache needs 0.00 GB more") as full:
        fetch_from_store(place, tmp_path / "there" / cache.name)
    assert full.value.errno == errno.ENOSPC
    assert not list((tmp_path / "there").rglob("*.npy"))
