import json
import multiprocessing
import os
import signal
import time
from dataclasses import asdict, replace
from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from data.cache.build import CacheBuild
from data.cache.feature_cache import CacheKey, FeatureCache
from data.cache.files import CacheError
from data.cache.settings import CacheSettings
from data.datasets.contract import DatasetError, DatasetInfo, Sample, palette_of
from data.datasets.folder import Folder
from data.transforms import mirrored
from models.backbones import build_backbone, weights_digest
from models.settings import BackboneSettings
from training import source_code
from training.extraction import (
    FrozenBackbone,
    cache_features,
    features_code,
    plan_cache,
    refuse_leaks,
    search_folds,
)
from training.source_code import source_digest

HEIGHT_PX, WIDTH_PX = 33, 49
NUM_TRAIN = 12
BACKBONE = BackboneSettings("toy", weights=None)


class Every16thPixel(nn.Module):
    """As a backbone: the normalised image itself, at every 16th pixel. It may die at a black image."""

    def __init__(self, dies=False):
        super().__init__()
        self.dies = dies
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images_BCHW):
        if self.dies and (images_BCHW[:, :, 0, 0] == -1).all(dim=1).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return [images_BCHW[:, :, ::16, ::16]]


def put(root, split, index, labels=True):
    for part in ("images", "labels"):
        (root / split / part).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([index, split == "val"])
    Image.fromarray(rng.integers(1, 256, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)).save(root / split / "images" / f"{index:02d}.png")
    Image.fromarray(rng.integers(0, 3, (HEIGHT_PX, WIDTH_PX), np.uint8)).save(root / split / "labels" / f"{index:02d}.png")


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr("training.extraction.SHARD_PX", 2 * HEIGHT_PX * WIDTH_PX)
    root = tmp_path / "data"
    for index in range(NUM_TRAIN):
        put(root, "train", index)
    put(root, "val", 0)
    return Folder(str(root), classes=("a", "b", "c"))


def settings(tmp_path, **changes):
    return CacheSettings(**{"folder": str(tmp_path / "cache"), "workers": 1, **changes})


def cached(dataset, of, split="train", backbone=None, progress=lambda done, total: None):
    backbone = backbone or Every16thPixel()
    frozen = FrozenBackbone(BACKBONE, weights_digest(backbone), lambda: backbone)
    return FeatureCache(cache_features(dataset, split, frozen, of, progress))


def expected(sample):
    return ((sample.image_HWC[::16, ::16] / 255 - 0.5) / 0.5).transpose(2, 0, 1).astype(np.float16)


def assert_holds(cache, samples):
    assert len(cache) == len(samples)
    for index, sample in enumerate(samples):
        features_CHW, labels_HW = cache[index]
        np.testing.assert_allclose(features_CHW, expected(sample), atol=1e-2)
        np.testing.assert_array_equal(labels_HW, sample.labels_HW)


# What is cached


def test_any_number_of_processes_caches_every_sample_in_its_place_with_the_same_bytes(dataset, tmp_path):
    split, files = dataset.split("train"), []
    for workers in (1, 2):
        told = []
        of = settings(tmp_path, folder=str(tmp_path / str(workers)), workers=workers)
        cache = cached(dataset, of, progress=lambda *done: told.append(done))  # noqa: B023 - called within the loop
        assert_holds(cache, [split[index] for index in range(NUM_TRAIN)])
        cache.verify()
        assert told[-1] == (NUM_TRAIN, NUM_TRAIN)
        assert sorted(path.suffix for path in cache.folder.iterdir()) == [".json"] * 8 + [".npy"] * 12
        files.append({path.name: path.read_bytes() for path in cache.folder.iterdir()})
    assert files[0] == files[1]


def test_views_are_the_samples_their_mirror_images_and_augmented_ones_of_which_every_other_is_mirrored(dataset, tmp_path):
    cache = cached(dataset, settings(tmp_path, views=4, scales=[1.0]))
    split = dataset.split("train")
    samples = [split[index] for index in range(NUM_TRAIN)]
    upright, mirror_images = samples, [mirrored(sample) for sample in samples]  # at scale 1 nothing else changes
    assert_holds(cache, [*upright, *mirror_images, *upright, *mirror_images])


def test_augmented_views_are_of_random_scales_and_the_same_each_time(dataset, tmp_path):
    first, again = (cached(dataset, settings(tmp_path / name, views=3)) for name in ("one", "other"))
    third = [first[index] for index in range(2 * NUM_TRAIN, 3 * NUM_TRAIN)]
    for index, (features_CHW, labels_HW) in enumerate(third, start=2 * NUM_TRAIN):
        np.testing.assert_array_equal(again[index][0], features_CHW)
        np.testing.assert_array_equal(again[index][1], labels_HW)
    ignored = {round(float((labels_HW == 255).mean()), 2) for _, labels_HW in third}
    assert len(ignored) > 2  # small scales are padded, by different amounts
    assert 0.0 in ignored


def test_only_training_splits_have_views_and_coarser_labels(dataset, tmp_path):
    of = settings(tmp_path, views=2, label_stride=4)
    assert len(cached(dataset, of)) == 2 * NUM_TRAIN
    assert cached(dataset, of)[0][1].shape == (9, 13)
    assert len(cached(dataset, of, "val")) == 1
    assert cached(dataset, of, "val")[0][1].shape == (HEIGHT_PX, WIDTH_PX)


def test_images_of_different_sizes_are_padded_to_the_largest(dataset, tmp_path):
    for part, mode in (("images", "RGB"), ("labels", "L")):
        Image.new(mode, (60, 20)).save(tmp_path / "data" / "train" / part / "99.png")
    cache = cached(dataset, settings(tmp_path))
    assert cache[NUM_TRAIN][1].shape == (33, 65)
    assert (cache[NUM_TRAIN][1][20:] == 255).all()


# What is asked for


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"views": 0}, "cache.views must be at least 1, got 0"),
        ({"label_stride": 0}, "cache.label_stride must be at least 1, got 0"),
        ({"workers": 0}, "cache.workers must be at least 1, got 0"),
        ({"batch_size": 0}, "cache.batch_size must be at least 1, got 0"),
        ({"scales": []}, "cache.scales must be at least one factor above 0"),
        ({"dtype": "int8"}, "cache.dtype must be 'float16' or 'float32', got 'int8'"),
    ],
)
def test_a_setting_out_of_range_is_named(changes, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        settings(tmp_path, **changes)


def test_labels_that_would_not_lie_on_the_features_grid_are_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="cache.label_stride must divide the output stride 16, got 3"):
        cached(dataset, settings(tmp_path, label_stride=3))
    with pytest.raises(ValueError, match="cache.width_px: must be at least that of the images of train, 49, got 33"):
        cached(dataset, settings(tmp_path, width_px=33))


def test_splits_that_share_an_image_are_refused(dataset, tmp_path):
    (tmp_path / "data" / "val" / "images" / "00.png").write_bytes(
        (tmp_path / "data" / "train" / "images" / "03.png").read_bytes()
    )
    with pytest.raises(DatasetError, match="folder, search_train, search_val: images in both: 1"):
        refuse_leaks(dataset, ("search_train", "search_val"), settings(tmp_path))


def test_folds_hold_out_train_in_turn_and_a_data_set_without_them_has_none(dataset, tmp_path):
    assert search_folds(dataset, settings(tmp_path)) == ()
    folds = search_folds(replace(dataset, folds=3), settings(tmp_path))
    assert [list(fold.val) for fold in folds] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_an_image_that_lies_in_two_folds_is_refused(dataset, tmp_path):
    images = tmp_path / "data" / "train" / "images"
    (images / "03.png").write_bytes((images / "11.png").read_bytes())
    with pytest.raises(DatasetError, match="folder, fold 1, fold 3: images in both: 1"):
        search_folds(replace(dataset, folds=3), settings(tmp_path))


def test_another_backbones_cache_under_this_ones_name_is_told_of(dataset, tmp_path):
    of = settings(tmp_path)
    folder = cached(dataset, of).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["key"]["backbone"]["weights"] = "0123"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match=r"holds toy \(weights 0123\) on train of folder, not toy .weights \w+") as caught:
        cached(dataset, of)
    assert str(folder) in str(caught.value)


# Faults


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_sample_ends_the_build_with_its_name_from_whichever_process(workers, dataset, tmp_path):
    path = tmp_path / "data" / "train" / "labels" / "05.png"
    Image.fromarray(np.full((HEIGHT_PX, WIDTH_PX), 77, np.uint8)).save(path)
    with pytest.raises(DatasetError, match=f"{path}: label 77 at row 0") as caught:
        cached(dataset, settings(tmp_path, workers=workers))
    assert caught.value.counts == {77: HEIGHT_PX * WIDTH_PX}


def test_a_process_that_is_killed_ends_the_build_and_the_next_one_goes_on(dataset, tmp_path):
    image = tmp_path / "data" / "train" / "images" / "07.png"
    content = image.read_bytes()
    Image.new("RGB", (WIDTH_PX, HEIGHT_PX)).save(image)
    with pytest.raises(CacheError, match="a process that extracted features died, .* Run the same command again"):
        cached(dataset, settings(tmp_path, workers=2), backbone=Every16thPixel(dies=True))
    image.write_bytes(content)
    cache = cached(dataset, settings(tmp_path))
    assert len(cache) == NUM_TRAIN
    cache.verify()


class Numbered:
    """Samples without files."""

    def __len__(self):
        return NUM_TRAIN

    def __getitem__(self, index):
        return Sample(str(index), np.full((17, 17, 3), index, np.uint8), np.zeros((17, 17), np.uint8))


def shared_build(root):
    key = CacheKey({"name": "n", "split": "s"}, {"name": "b", "mean": [0.5] * 3}, 17, 17)
    return CacheBuild(root, key, Numbered(), DatasetInfo("n", ("a", "b"), palette_of(2)), shard_size=1)


def slowly(images_BHWC):
    time.sleep(0.05)
    return images_BHWC[:, ::16, ::16].transpose(0, 3, 1, 2).astype(np.float32)


def fill_and_tell(root, queue):
    done = count()
    shared_build(root).fill(slowly, progress=lambda images: next(done))
    queue.put(next(done))


def test_processes_that_fill_one_cache_at_once_share_the_work_and_one_that_is_killed_is_made_up_for(tmp_path):
    context = multiprocessing.get_context("fork")  # they need NumPy alone
    queue = context.SimpleQueue()
    processes = [context.Process(target=fill_and_tell, args=(tmp_path, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    build = shared_build(tmp_path)
    while not list(build.folder.glob("shard-*.json")):
        time.sleep(0.01)
    processes[0].kill()
    for process in processes:
        process.join()
    filled = []
    while not queue.empty():
        filled.append(queue.get())
    assert sum(filled) <= NUM_TRAIN  # none was extracted twice by those that lived
    build.fill(slowly)
    cache = FeatureCache(build.finish())
    cache.verify()
    assert [int(cache[index][0][0, 0, 0]) for index in range(NUM_TRAIN)] == list(range(NUM_TRAIN))


def test_a_damaged_shard_is_made_anew_once_it_is_deleted(dataset, tmp_path):
    of = settings(tmp_path)
    cache = cached(dataset, of)
    (cache.folder / "features-00003.npy").unlink()
    told = []
    again = cached(dataset, of, progress=lambda *done: told.append(done))
    assert told == [(NUM_TRAIN - 1, NUM_TRAIN), (NUM_TRAIN, NUM_TRAIN)]
    again.verify()


def test_a_disk_too_small_is_told_of_at_the_first_shard(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"No space left on device: the features need 0.00 GB more, 0.00 GB are free"):
        cached(dataset, settings(tmp_path))


def test_a_backbone_is_built_once_for_the_digest_of_its_weights(tmp_path, monkeypatch):
    file, local = tmp_path / "weights.safetensors", BackboneSettings("local", weights=str(tmp_path / "weights.safetensors"))
    digests = []
    for seed in (1, 2):
        encoder = build_backbone(BackboneSettings("local", seed=seed))
        save_file(encoder.state_dict(), file)
        digests.append(FrozenBackbone.of(local, settings(tmp_path)).weights)
        assert digests[-1] == weights_digest(encoder)
    assert digests[0] != digests[1]
    with monkeypatch.context() as patch:
        patch.setattr("training.extraction.build_backbone", lambda settings: pytest.fail("built again"))
        assert FrozenBackbone.of(local, settings(tmp_path)).weights == digests[1]
    (tmp_path / "cache" / "backbones.json").write_text("{")
    assert FrozenBackbone.of(local, settings(tmp_path)).weights == digests[1]


def test_a_key_does_not_depend_on_how_the_work_is_done(dataset, tmp_path):
    one = plan_cache(dataset, "train", "w", BACKBONE, settings(tmp_path))
    other = plan_cache(dataset, "train", "w", BACKBONE, settings(tmp_path, workers=8, batch_size=3))
    assert one.key == other.key
    assert replace(one.key, views={"count": 2}).digest != one.key.digest
    assert json.dumps(asdict(one.key))


@pytest.mark.parametrize("changed", ["source_digest", "version"], ids=["code", "timm"])
def test_features_of_other_code_or_another_timm_are_another_cache(dataset, tmp_path, monkeypatch, changed):
    def folder():
        return plan_cache(dataset, "train", "weights", BACKBONE, settings(tmp_path)).folder

    before = folder()
    assert folder() == before
    monkeypatch.setattr(f"training.extraction.{changed}", lambda *names: "another")
    assert folder() != before


def test_what_makes_features_counts_for_their_cache_and_what_trains_on_them_does_not(dataset, monkeypatch):
    asked, seen, read = [], set(), source_code._read
    monkeypatch.setattr("training.extraction.source_digest", lambda *modules: asked.extend(modules) or "digest")
    features_code(dataset, dataset.split("train"))
    monkeypatch.setattr(source_code, "_read", lambda path, changed, name: seen.add(name) or read(path, changed, name))
    source_digest(*asked)
    assert {"models.backbones", "data.cache.views", "data.cache.build", "data.transforms", Folder.__module__} <= seen
    assert not {"models.dpc", "training.proxy", "models.export"} & seen
