import errno
import hashlib
import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest

from data.cache.feature_cache import FeatureCache
from data.cache.files import CacheError
from data.cache.local_copy import check_local_room, local_copy


def states(folder):
    """What changes where a file is written again: renamed files have another inode."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.npy")}


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def assert_copies(copy, cache):
    for path in [*cache.glob("*.npy"), cache / "seen.json", cache / "manifest.json"]:
        assert (copy / path.name).read_bytes() == path.read_bytes()
    assert not list(copy.glob("*.partial"))


def test_a_copy_holds_every_byte_and_is_made_once(cache, tmp_path):
    copy = local_copy(cache, tmp_path / "local")
    before = states(copy)
    assert copy == tmp_path / "local" / cache.name
    assert_copies(copy, cache)
    assert local_copy(cache, tmp_path / "local") == copy
    assert states(copy) == before
    np.testing.assert_array_equal(FeatureCache(copy)[5][0], FeatureCache(cache)[5][0])


@pytest.mark.parametrize("name", ["features-00001.npy", "labels-00002.npy"])
def test_a_file_of_the_copy_that_is_damaged_by_a_byte_is_copied_again_and_no_other(cache, tmp_path, name):
    copy = local_copy(cache, tmp_path / "local")
    before = states(copy)
    change_a_byte(copy / name)
    assert_copies(local_copy(cache, tmp_path / "local"), cache)
    assert {changed for changed, state in states(copy).items() if state != before[changed]} == {name}


def test_a_copy_that_was_torn_is_completed(cache, tmp_path):
    copy = local_copy(cache, tmp_path / "local")
    (copy / "manifest.json").unlink()
    (copy / "features-00000.npy").unlink()
    (copy / "labels-00000.partial").write_bytes(b"half of a fi")
    os.truncate(copy / "labels-00000.npy", 100)
    assert_copies(local_copy(cache, tmp_path / "local"), cache)


def test_a_copy_of_a_cache_that_was_built_again_follows_it(cache, tmp_path):
    copy = local_copy(cache, tmp_path / "local")
    mapped_CHW, _ = FeatureCache(copy)[0]
    before = mapped_CHW.copy()
    other = tmp_path / "other" / cache.name
    shutil.copytree(cache, other)
    path = other / "features-00000.npy"
    np.save(path, np.load(path) + 1)
    manifest = json.loads((other / "manifest.json").read_text())
    entry = manifest["shards"][0]["features"]
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert_copies(local_copy(other, tmp_path / "local"), other)
    np.testing.assert_array_equal(mapped_CHW, before)  # who maps the old file keeps it


def test_a_cache_that_is_damaged_itself_is_told_of_and_no_copy_passes_for_whole(cache, tmp_path):
    change_a_byte(cache / "features-00001.npy")
    for _ in range(2):
        with pytest.raises(CacheError, match=f"{cache / 'features-00001.npy'}: arrives damaged"):
            local_copy(cache, tmp_path / "local")
    with pytest.raises(CacheError, match="no finished feature cache here"):
        FeatureCache(tmp_path / "local" / cache.name)


def copy_and_tell(folder, local, start, queue):
    start.wait()
    queue.put(states(local_copy(folder, local)))


def test_of_processes_that_want_the_copy_at_once_one_makes_it_and_the_others_wait(cache, tmp_path):
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(3), context.SimpleQueue()
    arguments = (cache, tmp_path / "local", start, queue)
    processes = [context.Process(target=copy_and_tell, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    seen = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    assert len(seen[0]) == 6
    assert seen[0] == seen[1] == seen[2]  # nobody copied a file again
    assert_copies(tmp_path / "local" / cache.name, cache)


def test_a_disk_without_room_is_told_of_before_anything_is_copied(cache, tmp_path, monkeypatch):
    needed = FeatureCache(cache).bytes + (cache / "seen.json").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": needed - 1}))
    for act in (lambda: local_copy(cache, tmp_path / "local"), lambda: check_local_room([cache], tmp_path / "local")):
        with pytest.raises(OSError, match=r"the local copy on \S+ needs 0.00 GB more, 0.00 GB are free"):
            act()
    assert not list((tmp_path / "local").rglob("*.npy"))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": needed}))
    check_local_room([cache], tmp_path / "local")
    copy = local_copy(cache, tmp_path / "local")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 0}))
    check_local_room([cache], tmp_path / "local")  # what is there needs no room
    assert_copies(copy, cache)


def test_a_finished_copy_of_another_user_is_read_though_nothing_can_be_written_beside_it(cache, tmp_path, monkeypatch):
    copy = local_copy(cache, tmp_path / "local")
    (copy / "digests.json").unlink()

    def denied(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for writes in ("data.cache.local_copy.Lock", "data.system.files.write_text"):
        monkeypatch.setattr(writes, denied)
    assert local_copy(cache, tmp_path / "local") == copy
    assert_copies(copy, cache)
