import errno
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from data import digests
from data.cache import build as build_module
from data.cache.build import CacheBuild, build_cache
from data.cache.feature_cache import CacheKey, FeatureCache
from data.cache.files import CacheError
from data.datasets.contract import DatasetInfo, Sample, palette_of
from data.digests import pixels_digest
from data.system import files
from data.system.json_file import read_json
from data.system.locks import Lock
from data.transforms import pad_sample

INFO = DatasetInfo("toy", ("a", "b", "c"), palette_of(3))
KEY = CacheKey(
    dataset={"name": "toy", "split": "train", "content": "c0"},
    backbone={"name": "fake", "weights": "w0", "mean": [0.5, 0.25, 0.0]},
    height_px=17,
    width_px=33,
)
NUM_SAMPLES = 7


class ToySplit:
    """Random images of 12x30 pixels with random labels."""

    def __len__(self):
        return NUM_SAMPLES

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image_HWC = rng.integers(0, 256, (12, 30, 3), np.uint8)
        return Sample(f"toy-{index}", image_HWC, rng.integers(0, 3, (12, 30), np.uint8))


class FakeBackbone:
    """Every 16th pixel over 7 as a feature, and a count of the images that it saw; it dies at image ``dies_at``."""

    def __init__(self, dies_at=None):
        self.num_images, self.dies_at = 0, dies_at

    def __call__(self, images_BHWC):
        self.num_images += len(images_BHWC)
        if self.dies_at is not None and self.num_images > self.dies_at:
            raise KeyboardInterrupt
        return (images_BHWC[:, ::16, ::16].transpose(0, 3, 1, 2) / 7).astype(np.float32)


def planned(root, key=KEY, shard_size=3):
    return CacheBuild(root, key, ToySplit(), INFO, shard_size)


def build(root, extract=None, key=KEY, shard_size=3, **arguments):
    return build_cache(planned(root, key, shard_size), extract or FakeBackbone(), 2, **arguments)


def padded(index):
    return pad_sample(ToySplit()[index], 17, 33, KEY.backbone["mean"], INFO.ignore_label)


def assert_holds_every_sample(cache, dtype=np.float16):
    assert len(cache) == NUM_SAMPLES
    for index in range(NUM_SAMPLES):
        features_CHW, labels_HW = cache[index]
        expected_BCHW = FakeBackbone()(padded(index).image_HWC[None]).astype(dtype)
        np.testing.assert_array_equal(features_CHW, expected_BCHW[0])
        np.testing.assert_array_equal(labels_HW, padded(index).labels_HW)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shard_size", [1, 3, 128])
def test_what_is_cached_is_what_the_backbone_gave_in_the_stored_type(dtype, shard_size, tmp_path):
    cache = FeatureCache(build(tmp_path, key=replace(KEY, dtype=dtype), shard_size=shard_size))
    assert (cache.channels, cache.height, cache.width) == (3, 2, 3)
    assert cache.info == INFO
    assert cache[0][0].dtype == dtype
    assert_holds_every_sample(cache, dtype)
    cache.verify()


def test_a_batch_holds_the_samples_asked_for_in_their_order(tmp_path):
    cache = FeatureCache(build(tmp_path))
    features_BCHW, labels_BHW = cache.batch([6, 0, 6])
    assert features_BCHW.shape == (3, 3, 2, 3)
    for row, index in enumerate([6, 0, 6]):
        np.testing.assert_array_equal(features_BCHW[row], cache[index][0])
        np.testing.assert_array_equal(labels_BHW[row], cache[index][1])
    features_BCHW[:] = 0  # a copy: it must not reach the file
    cache.verify()


def test_the_features_are_mapped_and_cannot_be_written_to(tmp_path):
    features_CHW, labels_HW = FeatureCache(build(tmp_path))[0]
    assert isinstance(features_CHW, np.memmap)
    assert isinstance(labels_HW, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        features_CHW[:] = 0


def test_progress_tells_every_image_once_and_ends_with_all(tmp_path):
    told = []
    build(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (NUM_SAMPLES, NUM_SAMPLES)


def test_the_cache_says_what_it_holds_and_how_many_bytes(tmp_path):
    cache = FeatureCache(build(tmp_path))
    assert cache.content["backbone"]["weights"] == "w0"
    assert cache.bytes == sum(path.stat().st_size for path in cache.folder.glob("*.npy"))


def test_what_was_seen_of_the_images_is_read_only_when_it_is_asked_for(tmp_path, monkeypatch):
    folder, read = build(tmp_path), []
    monkeypatch.setattr("data.cache.feature_cache.read_json", lambda path: read.append(path.name) or read_json(path))
    cache = FeatureCache(folder)
    assert_holds_every_sample(cache)
    assert read == []
    assert cache.image_digests == [pixels_digest(ToySplit()[index].image_HWC) for index in range(NUM_SAMPLES)]
    assert cache.labelled([0, 6]) == {0, 1, 2}
    assert sum(cache.label_pixels) == NUM_SAMPLES * 12 * 30
    assert read == ["seen.json"]
    assert not any(digest in (folder / "manifest.json").read_text() for digest in cache.image_digests)


def test_what_was_seen_of_the_images_is_not_believed_where_it_is_damaged_and_written_anew_once_deleted(tmp_path):
    seen = build(tmp_path) / "seen.json"
    digests_before = FeatureCache(seen.parent).image_digests
    flip_a_byte(seen)
    with pytest.raises(CacheError, match=f"{seen}: damaged; delete it, and `dpc cache` rebuilds it"):
        FeatureCache(seen.parent).labelled([0])
    seen.unlink()
    again = FakeBackbone()
    assert FeatureCache(build(tmp_path, again)).image_digests == digests_before
    assert again.num_images == 0


# Reuse


def test_the_same_key_is_not_extracted_again(tmp_path):
    folder = build(tmp_path)
    again = FakeBackbone()
    assert build(tmp_path, again) == folder
    assert again.num_images == 0


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, backbone={**KEY.backbone, "weights": "w1"}),
        replace(KEY, backbone={**KEY.backbone, "output_stride": 8}),
        replace(KEY, dataset={**KEY.dataset, "content": "c1"}),
        replace(KEY, dataset={**KEY.dataset, "split": "val"}),
        replace(KEY, height_px=33),
        replace(KEY, width_px=49),
        replace(KEY, dtype="float32"),
        replace(KEY, label_stride=4),
        replace(KEY, views={"count": 2}),
    ],
    ids=["weights", "output stride", "content", "split", "height", "width", "dtype", "label stride", "views"],
)
def test_whatever_changes_the_values_has_a_cache_of_its_own(other, tmp_path):
    backbone = FakeBackbone()
    assert build(tmp_path) != build(tmp_path, backbone, other)
    assert backbone.num_images == NUM_SAMPLES


def test_a_key_is_the_same_whatever_the_order_of_its_fields():
    assert replace(KEY, backbone=dict(reversed(KEY.backbone.items()))).digest == KEY.digest


# A build that was interrupted


def interrupted(root, dies_at, shard_size=3):
    with pytest.raises(KeyboardInterrupt):
        build(root, FakeBackbone(dies_at), shard_size=shard_size)
    with pytest.raises(CacheError, match="no finished feature cache here; `dpc cache` builds it"):
        FeatureCache(root / KEY.folder)


@pytest.mark.parametrize(("dies_at", "finished"), [(2, 0), (4, 3), (6, 6)])
def test_a_killed_build_goes_on_with_the_shards_it_lacks(dies_at, finished, tmp_path):
    interrupted(tmp_path, dies_at)
    backbone = FakeBackbone()
    cache = FeatureCache(build(tmp_path, backbone))
    assert backbone.num_images == NUM_SAMPLES - finished
    assert_holds_every_sample(cache)
    cache.verify()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip_a_byte(folder / "features-00000.npy"),
        lambda folder: flip_a_byte(folder / "labels-00000.npy"),
        lambda folder: (folder / "labels-00000.npy").unlink(),
        lambda folder: (folder / "shard-00000.json").write_text('{"features": '),
        lambda folder: (folder / "shard-00000.json").write_text("{}"),
    ],
    ids=["features", "labels", "labels missing", "entry cut", "entry empty"],
)
def test_a_shard_damaged_while_the_build_was_down_is_built_again(damage, tmp_path):
    interrupted(tmp_path, dies_at=6)
    damage(tmp_path / KEY.folder)
    backbone = FakeBackbone()
    cache = FeatureCache(build(tmp_path, backbone))
    assert backbone.num_images == NUM_SAMPLES - 3
    assert_holds_every_sample(cache)
    cache.verify()


# Two that build at once


def test_what_another_build_finished_since_the_first_look_is_not_deleted(tmp_path, monkeypatch):
    interrupted(tmp_path, dies_at=6)
    entry = tmp_path / KEY.folder / "shard-00000.json"
    flip_a_byte(tmp_path / KEY.folder / "features-00000.npy")
    second, look = planned(tmp_path), CacheBuild._is_whole

    def mended_after_the_look(build, index):
        is_whole = look(build, index)
        if index == 0 and not is_whole:  # the first build is quicker than this one
            monkeypatch.setattr(CacheBuild, "_is_whole", look)
            entry.unlink()
            planned(tmp_path).fill(FakeBackbone())
        return is_whole

    monkeypatch.setattr(CacheBuild, "_is_whole", mended_after_the_look)
    assert 0 in second.unfinished()
    backbone = FakeBackbone()
    second.fill(backbone)
    assert backbone.num_images == 0
    assert_holds_every_sample(FeatureCache(second.finish()))


def test_a_shard_that_another_build_holds_is_waited_for_and_not_written_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "POLL_S", 0.01)
    first, second, backbone = planned(tmp_path), planned(tmp_path), FakeBackbone()
    first.folder.mkdir(parents=True)
    with ThreadPoolExecutor(1) as thread:
        with Lock(first.folder / "shard-00000.lock"):
            filling = thread.submit(second.fill, backbone)
            with pytest.raises(TimeoutError):
                filling.result(timeout=0.5)
            first._write_shard(0, FakeBackbone(), 2, 1, lambda images: None)
        filling.result()
    assert backbone.num_images == NUM_SAMPLES - 3
    assert_holds_every_sample(FeatureCache(second.finish()))


def test_a_shard_that_was_finished_just_before_its_lock_was_free_is_not_written_again(tmp_path, monkeypatch):
    claim, backbone = CacheBuild._claimed, FakeBackbone()

    def claimed_after_another_wrote(build, index):
        build._write_shard(index, FakeBackbone(), 2, 1, lambda images: None)
        return claim(build, index)

    monkeypatch.setattr(CacheBuild, "_claimed", claimed_after_another_wrote)
    planned(tmp_path).fill(backbone)
    assert backbone.num_images == 0


def test_a_finished_cache_keeps_no_locks_and_is_no_other_keys(tmp_path):
    folder = build(tmp_path)
    assert not list(folder.glob("*.lock"))
    with pytest.raises(CacheError, match=r"holds fake .* on train of toy, not fake .*; delete the folder\."):
        FeatureCache(folder, replace(KEY, dtype="float32"))


def test_what_was_read_and_not_written_to_since_is_not_read_again_unless_it_is_asked_for(tmp_path, monkeypatch):
    cache, read = FeatureCache(build(tmp_path)), []
    digest = digests.FileDigests._digest
    monkeypatch.setattr(digests.FileDigests, "_digest", lambda memory, path: read.append(path) or digest(memory, path))
    cache.verify(reread=False)
    assert len(read) == 7
    cache.verify(reread=False)
    assert len(read) == 7
    cache.verify()
    assert len(read) == 14
    flip_a_byte(cache.folder / "labels-00001.npy")
    with pytest.raises(CacheError, match="labels-00001.npy: damaged"):
        cache.verify(reread=False)


def test_a_finished_cache_on_a_read_only_mount_is_verified_and_nothing_remembered(tmp_path, monkeypatch):
    def refuse(path, text):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    cache = FeatureCache(build(tmp_path))
    monkeypatch.setattr(files, "write_text", refuse)
    cache.verify(reread=False)
    assert not (cache.folder / digests.MEMORY).exists()


@pytest.mark.parametrize("name", ["../../outside.npy", "/outside.npy", "below/a.npy"])
def test_a_manifest_that_names_a_file_elsewhere_is_damaged(tmp_path, name):
    folder = build(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["labels"]["file"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match="is not a plain name"):
        FeatureCache(folder)


@pytest.mark.parametrize(("first", "then"), [(3, 2), (2, 3), (5, 4), (4, 3), (6, 1)])
def test_a_build_that_goes_on_with_another_shard_size_mixes_up_no_samples(first, then, tmp_path):
    folder = build(tmp_path, shard_size=first)
    (folder / "manifest.json").unlink()  # as if it had been killed just before the end
    assert_holds_every_sample(FeatureCache(build(tmp_path, shard_size=then)))


@contextmanager
def no_file_larger_than(num_bytes):
    """As on a full disk: a write stops short. The limit is the operating system's, so it is met inside NumPy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("num_bytes", [0, 100, 140, 400])
def test_a_full_disk_is_named_and_leaves_nothing_that_a_later_build_trusts(num_bytes, tmp_path):
    with no_file_larger_than(num_bytes), pytest.raises(OSError, match=r"too large: '.*-00000.npy'"):
        build(tmp_path)
    assert not (tmp_path / KEY.folder / "shard-00000.json").exists()
    backbone = FakeBackbone()
    cache = FeatureCache(build(tmp_path, backbone))
    assert backbone.num_images == NUM_SAMPLES
    assert_holds_every_sample(cache)
    cache.verify()


def test_a_disk_that_fills_up_after_the_first_shard_costs_only_the_second(tmp_path, monkeypatch):
    calls = count(1)

    def fill_up(file_descriptor):
        if next(calls) == 4:  # after features, labels and entry of the first shard
            os.ftruncate(file_descriptor, 50)
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(OSError, match="No space left on device: '.*/features-00001.npy'"):
        build(tmp_path)
    monkeypatch.undo()
    backbone = FakeBackbone()
    assert_holds_every_sample(FeatureCache(build(tmp_path, backbone)))
    assert backbone.num_images == NUM_SAMPLES - 3


# A cache that was damaged


def test_a_missing_cache_names_the_command_that_builds_it(tmp_path):
    with pytest.raises(CacheError, match=f"{tmp_path}/none: no finished feature cache here; `dpc cache` builds it"):
        FeatureCache(tmp_path / "none")


def test_a_damaged_manifest_is_named(tmp_path):
    path = build(tmp_path) / "manifest.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(CacheError, match=f"{path}: damaged") as caught:
        FeatureCache(path.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["features-00001.npy", "labels-00002.npy", "seen.json"])
def test_a_flipped_byte_is_found_by_reading_every_byte_and_its_file_named(name, tmp_path):
    cache = FeatureCache(build(tmp_path))
    flip_a_byte(cache.folder / name)
    with pytest.raises(CacheError, match=f"{cache.folder / name}: damaged; delete it, and `dpc cache` rebuilds it"):
        FeatureCache(cache.folder).verify()


@pytest.mark.parametrize("name", ["features-00001.npy", "labels-00002.npy", "seen.json"])
def test_a_truncated_or_missing_file_is_found_when_the_cache_is_opened(name, tmp_path):
    path = build(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CacheError, match=f"{path}: missing or of another size"):
        FeatureCache(path.parent)
    path.unlink()
    with pytest.raises(CacheError, match=f"{path}: missing or of another size"):
        FeatureCache(path.parent)


def test_a_cache_holds_no_pickles(tmp_path):
    folder = build(tmp_path)
    assert {path.suffix for path in folder.iterdir()} == {".npy", ".json"}
    for path in folder.glob("*.npy"):
        array = np.load(path, mmap_mode="r")
        assert array.dtype.kind in "fu"
        assert path.stat().st_size == array.offset + array.nbytes, "nothing hides behind the values"
    entries = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert len(entries) == 5


# Padding and features that cannot be


def test_images_are_padded_at_the_bottom_and_right_with_the_mean_colour_and_the_ignore_label():
    sample = ToySplit()[0]
    wide = pad_sample(sample, 17, 33, KEY.backbone["mean"], INFO.ignore_label)
    np.testing.assert_array_equal(wide.image_HWC[:12, :30], sample.image_HWC)
    np.testing.assert_array_equal(wide.labels_HW[:12, :30], sample.labels_HW)
    for padding in (wide.image_HWC[12:], wide.image_HWC[:, 30:]):
        assert np.unique(padding.reshape(-1, 3), axis=0).tolist() == [[128, 64, 0]]
    for padding in (wide.labels_HW[12:], wide.labels_HW[:, 30:]):
        assert np.unique(padding).tolist() == [255]


def test_an_image_of_the_padded_size_stays_as_it_is():
    sample = ToySplit()[0]
    same = pad_sample(sample, 12, 30, KEY.backbone["mean"], INFO.ignore_label)
    np.testing.assert_array_equal(same.image_HWC, sample.image_HWC)
    np.testing.assert_array_equal(same.labels_HW, sample.labels_HW)


@pytest.mark.parametrize("size", [{"height_px": 1}, {"width_px": 17}])
def test_an_image_larger_than_the_padded_size_is_refused(size, tmp_path):
    with pytest.raises(ValueError, match="toy-0: 30x12 pixels do not fit the padded size"):
        build(tmp_path, key=replace(KEY, **size))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_features_that_are_not_finite_in_the_stored_type_are_refused_with_the_cure(value, tmp_path):
    with pytest.raises(CacheError, match="not finite in float16; try cache.dtype=float32"):
        build(tmp_path, lambda images_BHWC: np.full((len(images_BHWC), 3, 2, 3), value, np.float32))
    assert not (tmp_path / KEY.folder / "shard-00000.json").exists()
