import logging
import os
import signal
import socket
import struct
from dataclasses import astuple, replace
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from data.cache.build import CacheBuild, build_cache
from data.cache.feature_cache import CacheKey, FeatureCache
from data.datasets.contract import DatasetInfo, Sample, palette_of
from data.folds import folds_of
from models.settings import CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from training import proxy, shared_features
from training.batches import Batches
from training.features import MappedFeatures, ResidentFeatures, StreamedFeatures
from training.graph_step import GraphStep
from training.optim import build_optimizer
from training.proxy import ProxyTask
from training.score import DivergedError, FeaturesGoneError
from training.settings import OptimizerSettings, ProxySettings
from training.shared_features import SharedFeatures, shared_features_on
from training.step import Step, predicted

CELL = CellSpec((Branch(-1, AtrousConv((1, 2))), Branch(0, Conv1x1()), Branch(-1, PyramidPooling((1, 1)))))
INFO = DatasetInfo("toy", ("left", "right", "lower"), palette_of(3))
HEIGHT_PX, WIDTH_PX = 65, 97
SETTINGS = ProxySettings(
    rungs=(2, 3, 6),
    batch_size=4,
    cell=CellSettings(filters=8, dropout=0.2),
    optimizer=OptimizerSettings("sgd", learning_rate=0.05),
)


pytestmark = pytest.mark.usefixtures("one_thread")


class ToySplit:
    """Images of three areas with noise; the border between left and right moves. Some pixels are ignored."""

    def __init__(self, num_samples, seed, all_ignored=False):
        self.num_samples, self.seed, self.all_ignored = num_samples, seed, all_ignored

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, index])
        labels_HW = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
        labels_HW[:, int(rng.integers(20, 80)) :] = 1
        labels_HW[40:] = 2
        image_HWC = (60 + 70 * labels_HW[..., None] + rng.integers(-40, 40, (HEIGHT_PX, WIDTH_PX, 3))).astype(np.uint8)
        labels_HW[:3] = INFO.ignore_label
        if self.all_ignored:
            labels_HW[:] = INFO.ignore_label
        return Sample(str(index), image_HWC, labels_HW)

    def fingerprint(self):
        return f"{self.num_samples}-{self.seed}-{self.all_ignored}"


def every_16th_pixel(images_BHWC):
    return images_BHWC[:, ::16, ::16].transpose(0, 3, 1, 2).astype(np.float32) / 64 - 2


def cached(root, split, extract=every_16th_pixel, info=INFO, label_stride=1):
    key = CacheKey(
        {"name": "toy", "split": "any", "content": split.fingerprint()},
        {"name": extract.__name__, "mean": [0.5, 0.5, 0.5], "output_stride": 16},
        HEIGHT_PX,
        WIDTH_PX,
        label_stride=label_stride,
    )
    return build_cache(CacheBuild(root, key, split, info, shard_size=128), extract)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("caches")
    return cached(root, ToySplit(6, seed=0)), cached(root, ToySplit(5, seed=1))


def told(scores):
    """Scores without the clock."""
    return [astuple(score)[:-1] for score in scores]


# Repeatability


def test_it_scores_the_cell_at_each_rung(folders):
    scores = list(ProxyTask(*folders, SETTINGS)(CELL, seed=0))
    assert [(score.rung, score.iteration) for score in scores] == [(1, 2), (2, 3), (3, 6)]
    assert all(0 <= score.miou <= 1 and score.loss > 0 for score in scores)
    elapsed_s = [score.elapsed_s for score in scores]
    assert elapsed_s == sorted(elapsed_s)
    assert elapsed_s[0] > 0


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(folders):
    first, again, other = (told(ProxyTask(*folders, SETTINGS)(CELL, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_state_of_the_global_generator_does_not_matter(folders):
    results = []
    for noise in (1, 2):
        scores = []
        for score in ProxyTask(*folders, SETTINGS)(CELL, 0):
            torch.manual_seed(noise)
            scores.append(score)
        results.append(told(scores))
    assert results[0] == results[1]


def test_the_validation_batch_size_changes_no_result(folders):
    results = [told(ProxyTask(*folders, replace(SETTINGS, eval_batch_size=size))(CELL, 0)) for size in (1, 2, 8)]
    assert results[0] == results[1] == results[2]


def test_a_cell_learns_what_its_features_show(folders):
    settings = replace(SETTINGS, rungs=(5, 80), optimizer=OptimizerSettings("adamw", learning_rate=0.02))
    early, late = ProxyTask(*folders, settings)(CELL, seed=0)
    assert late.loss < 0.6 * early.loss
    assert late.miou > 0.7


# Folds


class PartOf(ToySplit):
    """Some samples of a split."""

    def __init__(self, split, numbers):
        super().__init__(len(numbers), split.seed)
        self.numbers = numbers

    def __getitem__(self, index):
        return super().__getitem__(int(self.numbers[index]))

    def fingerprint(self):
        return f"{self.seed}-{list(self.numbers)}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return cached(tmp_path_factory.mktemp("whole"), ToySplit(7, seed=2))


FOLDS = folds_of(7, list("aabbbcc"), 3)


def test_the_score_of_folds_is_the_mean_of_a_trial_for_each(whole, tmp_path):
    alone = []
    for fold in FOLDS:
        parts = [cached(tmp_path, PartOf(ToySplit(7, seed=2), numbers)) for numbers in (fold.train, fold.val)]
        alone.append(list(ProxyTask(*parts, SETTINGS)(CELL, 0)))
    together = list(ProxyTask(whole, whole, SETTINGS, folds=FOLDS)(CELL, 0))
    assert [score.iteration for score in together] == [2, 3, 6]
    for score, *each in zip(together, *alone, strict=True):
        assert score.miou == pytest.approx(np.mean([one.miou for one in each]), rel=1e-12)
        assert score.loss == pytest.approx(np.mean([one.loss for one in each]), rel=1e-12)


def test_a_trial_of_folds_goes_on_from_its_checkpoint_with_the_same_bits(whole, tmp_path):
    task, path = ProxyTask(whole, whole, SETTINGS, folds=FOLDS), tmp_path / "state.safetensors"
    expected = told(task(CELL, 0))
    assert told(islice(task(CELL, 0, path), 2)) == expected[:2]
    assert told(task(CELL, 0, path)) == expected


def test_a_fold_trains_on_every_view_of_its_samples_and_is_scored_on_the_images_as_they_are(tmp_path):
    of_views = cached(tmp_path, ToySplit(14, seed=2))
    for fold, (samples, held_out) in zip(FOLDS, ProxyTask(of_views, of_views, SETTINGS, folds=FOLDS)._parts, strict=True):
        assert samples.tolist() == [*fold.train, *(7 + fold.train)]
        assert held_out.tolist() == fold.val.tolist()


# Resuming


@pytest.mark.parametrize(
    "optimizer", [SETTINGS.optimizer, OptimizerSettings("adamw", 0.01)], ids=lambda optimizer: optimizer.name
)
@pytest.mark.parametrize("crop_px", [None, 49])
@pytest.mark.parametrize("rungs_done", [1, 2])
def test_a_trial_resumed_at_any_rung_gives_the_same_bits(rungs_done, crop_px, optimizer, folders, tmp_path):
    task = ProxyTask(*folders, replace(SETTINGS, crop_px=crop_px, optimizer=optimizer))
    whole, path = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    expected = list(task(CELL, 0, whole))
    before = list(islice(task(CELL, 0, path), rungs_done))
    torch.manual_seed(1234)
    resumed = list(task(CELL, 0, path))
    assert told(resumed) == told(expected)
    assert resumed[:rungs_done] == before  # told again as they were, elapsed time included
    elapsed_s = [score.elapsed_s for score in resumed]
    assert elapsed_s == sorted(elapsed_s)
    weights, resumed_weights = load_file(whole), load_file(path)
    assert weights.keys() == resumed_weights.keys()
    assert all(torch.equal(weights[name], resumed_weights[name]) for name in weights)


def test_what_a_process_does_once_is_no_trials_time(folders, monkeypatch):
    clock_s = [0.0]

    def warm_up(device, num_classes):
        clock_s[0] += 1000

    monkeypatch.setattr(proxy, "warm_up", warm_up)
    monkeypatch.setattr(proxy.time, "monotonic", lambda: clock_s[0])
    assert [score.elapsed_s for score in ProxyTask(*folders, SETTINGS)(CELL, 0)] == [0.0] * len(SETTINGS.rungs)
    assert clock_s == [1000]


def test_the_last_rung_writes_no_checkpoint(folders, tmp_path):
    list(ProxyTask(*folders, replace(SETTINGS, rungs=(2,)))(CELL, 0, tmp_path / "state.safetensors"))
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_checkpoint_is_ignored_and_the_trial_starts_again(folders, tmp_path):
    task, path = ProxyTask(*folders, SETTINGS), tmp_path / "state.safetensors"
    expected = told(task(CELL, 0))
    next(task(CELL, 0, path))
    path.write_bytes(path.read_bytes()[:-10])
    assert told(task(CELL, 0, path)) == expected


# Trials that cannot be scored


def test_a_trial_that_diverges_has_no_score(folders):
    settings = replace(SETTINGS, optimizer=OptimizerSettings(learning_rate=1e30))
    with pytest.raises(DivergedError, match="not finite"):
        list(ProxyTask(*folders, settings)(CELL, 0))


def test_a_validation_split_without_labels_is_named(folders, tmp_path):
    unlabelled = cached(tmp_path, ToySplit(2, seed=0, all_ignored=True))
    with pytest.raises(ValueError, match=f"{unlabelled}: no pixel of the validation split has a label"):
        list(ProxyTask(folders[0], unlabelled, SETTINGS)(CELL, 0))


def test_what_the_first_trial_would_find_out_is_said_before_it(folders):
    ProxyTask(*folders, replace(SETTINGS, crop_px=65)).check()
    with pytest.raises(ValueError, match="proxy.crop_px: 81 is larger than the cached images, 97x65 pixels"):
        ProxyTask(*folders, replace(SETTINGS, crop_px=81)).check()
    with pytest.raises(ValueError, match="proxy.cell.output_stride: must be the backbone's, 16, got 8"):
        ProxyTask(*folders, replace(SETTINGS, cell=CellSettings(filters=8, output_stride=8))).check()


# Batches and crops


class MapSplit(ToySplit):
    """Each pixel's label is its row in even samples and its column in odd ones; its image shows both, and which."""

    def __getitem__(self, index):
        rows_HW, columns_HW = np.mgrid[:HEIGHT_PX, :WIDTH_PX].astype(np.uint8)
        is_odd_HW = np.full_like(rows_HW, index % 2)
        image_HWC = np.stack([rows_HW, columns_HW, is_odd_HW], axis=-1)
        return Sample(str(index), image_HWC, columns_HW if index % 2 else rows_HW)


def shown_pixel(images_BHWC):
    return images_BHWC[:, ::16, ::16].transpose(0, 3, 1, 2).astype(np.float32)


@pytest.fixture(scope="module")
def map_folder(tmp_path_factory):
    info = DatasetInfo("map", tuple(map(str, range(100))), palette_of(100))
    return cached(tmp_path_factory.mktemp("map"), MapSplit(6, seed=0), shown_pixel, info)


def batches_of(task):
    return Batches(task._train, np.arange(len(task._train)), task.settings.batch_size, task._crop_side, seed=0)


@pytest.mark.parametrize("crop_px", [None, 17, 33, 65])
def test_a_crop_keeps_features_and_labels_together(crop_px, map_folder):
    task = ProxyTask(map_folder, map_folder, replace(SETTINGS, crop_px=crop_px))
    for iteration in range(8):
        features_BCHW, labels_BHW = batches_of(task).at(iteration, MappedFeatures(task._train))
        assert features_BCHW.dtype == torch.float16
        if crop_px:
            assert labels_BHW.shape == (4, crop_px, crop_px)
        for (rows_HW, columns_HW, is_odd_HW), labels_HW in zip(features_BCHW, labels_BHW, strict=True):
            along_HW, shown_HW = (labels_HW, columns_HW) if is_odd_HW[0, 0] else (labels_HW.T, rows_HW)
            assert torch.equal(labels_HW[::16, ::16].half(), shown_HW)
            assert (along_HW.int().diff(dim=1) == 1).all()  # the pixels between features are there, too


def test_crops_reach_every_place_and_lie_elsewhere_each_time(map_folder):
    task = ProxyTask(map_folder, map_folder, replace(SETTINGS, crop_px=33))
    corners = set()
    for iteration in range(40):
        features_BCHW, _ = batches_of(task).at(iteration, MappedFeatures(task._train))
        corners |= {tuple(corner) for corner in features_BCHW[:, :2, 0, 0].tolist()}
    assert corners == {(16 * row, 16 * column) for row in range(3) for column in range(5)}


def test_an_epoch_of_batches_holds_every_sample_once(folders):
    task = ProxyTask(*folders, replace(SETTINGS, batch_size=2))
    cache = FeatureCache(folders[0])
    seen = []
    for iteration in range(3):
        features_BCHW, _ = batches_of(task).at(iteration, MappedFeatures(task._train))
        for features_CHW in features_BCHW.numpy():
            seen += [i for i in range(len(cache)) if np.array_equal(cache[i][0], features_CHW)]
    assert sorted(seen) == list(range(6))


@pytest.mark.parametrize("label_stride", [1, 4])
@pytest.mark.parametrize("windows", [None, [(1, 2, 3), (0, 0, 3), (2, 4, 3)]], ids=["whole", "cut"])
@pytest.mark.parametrize("kind", [ResidentFeatures, StreamedFeatures])
def test_features_are_the_same_mapped_resident_and_streamed(kind, windows, label_stride, tmp_path):
    cache = FeatureCache(cached(tmp_path, ToySplit(6, seed=0), label_stride=label_stride))
    expected = MappedFeatures(cache).batch([5, 0, 5], windows)
    for tensor, of_kind in zip(expected, kind(cache, torch.device("cpu")).batch([5, 0, 5], windows), strict=True):
        assert torch.equal(tensor, of_kind)
        assert tensor.dtype == of_kind.dtype


def test_coarser_labels_are_those_below_every_so_many_th_pixel_and_train_as_well(map_folder, tmp_path):
    info = DatasetInfo("map", tuple(map(str, range(100))), palette_of(100))
    coarse = cached(tmp_path, MapSplit(6, seed=0), shown_pixel, info, label_stride=4)
    for crop_px in (None, 33):
        settings = replace(SETTINGS, crop_px=crop_px)
        tasks = [ProxyTask(folder, map_folder, settings) for folder in (map_folder, coarse)]
        (_, fine_BHW), (_, coarse_BHW) = (batches_of(task).at(3, MappedFeatures(task._train)) for task in tasks)
        assert torch.equal(coarse_BHW, fine_BHW[:, ::4, ::4])
    assert 0 <= next(tasks[1](CELL, 0)).miou <= 1


# Steps that need nothing of the host, as on a GPU


def on_a_device(task):
    """The task as it would be with features that lie on a device, which is the CPU here."""
    vars(task)["_train_features"] = ResidentFeatures(task._train, torch.device("cpu"))
    return task


@pytest.mark.parametrize("crop_px", [None, 49])
@pytest.mark.parametrize(
    "optimizer", [SETTINGS.optimizer, OptimizerSettings("adamw", 0.01)], ids=lambda optimizer: optimizer.name
)
def test_a_trial_on_a_device_takes_the_same_steps(optimizer, crop_px, folders):
    settings = replace(SETTINGS, crop_px=crop_px, optimizer=optimizer)
    expected = list(ProxyTask(*folders, settings)(CELL, 0))
    found = list(on_a_device(ProxyTask(*folders, settings))(CELL, 0))
    assert [score.loss for score in found] == pytest.approx([score.loss for score in expected], rel=1e-3)
    assert [score.miou for score in found] == pytest.approx([score.miou for score in expected], abs=0.01)


def test_a_process_keeps_the_features_for_trials_that_share_a_gpu(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_features.tempfile, "gettempdir", lambda: str(tmp_path))
    cache = FeatureCache(folders[0])
    first, second = (shared_features_on(cache, torch.device("cpu")) for _ in range(2))
    assert type(first) is type(second) is SharedFeatures
    for shared, mapped in zip(second.batch([5, 0]), MappedFeatures(cache).batch([5, 0]), strict=True):
        assert torch.equal(shared, mapped)
    first._features_NHWC[0] = 0
    assert not second._features_NHWC[0].any()
    kill_keeper(second)
    with pytest.raises(FeaturesGoneError, match="has ended"):
        second.batch([0])
    third = shared_features_on(cache, torch.device("cpu"))
    assert torch.equal(third.batch([0])[0], MappedFeatures(cache).batch([0])[0])
    kill_keeper(third)


@pytest.mark.parametrize("dies", [0, 1], ids=["training's", "validation's"])
def test_a_trial_has_no_score_of_features_whose_keeper_died_while_it_trained(dies, folders, monkeypatch):
    task = ProxyTask(*folders, SETTINGS)
    keepers = share_features(task)
    scores = task(CELL, 0)
    assert next(scores).rung == 1
    validate = ProxyTask._validate
    monkeypatch.setattr(ProxyTask, "_validate", lambda *given: (validate(*given), keepers[dies].close())[0])
    with pytest.raises(FeaturesGoneError, match="has ended"):
        next(scores)


@pytest.mark.parametrize("is_kept", [True, False], ids=["", "gone"])
def test_a_cell_is_not_to_blame_for_a_loss_of_features_that_are_gone(is_kept, folders):
    task = ProxyTask(*folders, SETTINGS)
    keepers = share_features(task)
    task._train_features.parts[0].fill_(torch.nan)
    if not is_kept:
        keepers[0].close()
    with pytest.raises(DivergedError if is_kept else FeaturesGoneError):
        next(task(CELL, 0))


def share_features(task):
    """Let a task read features that it does not keep itself; the ends of their keepers."""
    keepers = []
    for name, cache in (("_train_features", task._train), ("_val_features", task._val)):
        trial, keeper = (shared_features.Connection(end.detach()) for end in socket.socketpair())
        vars(task)[name] = SharedFeatures(*ResidentFeatures(cache, torch.device("cpu")).parts, trial)
        keepers.append(keeper)
    return keepers


def kill_keeper(shared):
    with socket.socket(fileno=os.dup(shared._keeper.fileno())) as end:
        process, _, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    os.kill(process, signal.SIGKILL)
    assert shared._keeper.poll(20)


def test_which_step_is_taken_follows_from_where_the_features_lie(folders):
    model = nn.Linear(1, 1)
    for task, kind in ((ProxyTask(*folders, SETTINGS), Step), (on_a_device(ProxyTask(*folders, SETTINGS)), GraphStep)):
        assert type(task._step(model, build_optimizer(SETTINGS.optimizer, model), np.arange(6), 0)) is kind


def test_a_trial_on_a_device_resumes_with_the_same_bits(folders, tmp_path):
    task = on_a_device(ProxyTask(*folders, SETTINGS))
    expected = told(task(CELL, 0))
    next(task(CELL, 0, tmp_path / "state.safetensors"))
    assert told(task(CELL, 0, tmp_path / "state.safetensors")) == expected


def test_a_capture_that_fails_is_logged_once_and_every_step_is_still_taken(folders, monkeypatch, caplog):
    def refuse():
        raise RuntimeError("operation not permitted when stream is capturing\nand more lines")

    task = on_a_device(ProxyTask(*folders, SETTINGS))
    expected = told(task(CELL, 0))
    init = GraphStep.__init__

    def as_on_a_gpu(step, *args):
        init(step, *args)
        step._captures_after = 1

    monkeypatch.setattr(GraphStep, "__init__", as_on_a_gpu)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: refuse())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert told(task(CELL, 0)) == expected
    messages = [record.message for record in caplog.records]
    assert messages == ["no CUDA graph, steps stay eager: operation not permitted when stream is capturing"]


# Precision


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_computes_in_its_precision_whatever_its_features_are_kept_in(precision):
    model = nn.Conv2d(3, 4, 1)
    assert predicted(model, torch.randn(2, 3, 5, 5).half(), precision).dtype == getattr(torch, precision)
    assert model.weight.dtype == torch.float32


def test_a_trial_in_bfloat16_learns_as_well(folders):
    settings = replace(SETTINGS, rungs=(80,), precision="bfloat16", optimizer=OptimizerSettings("adamw", learning_rate=0.02))
    (score,) = ProxyTask(*folders, settings)(CELL, seed=0)
    assert score.miou > 0.7
    assert told(ProxyTask(*folders, settings)(CELL, seed=0)) == told([score])
