"""Feature caches filled by the tasks of a real Ray cluster of two nodes on this machine."""

import errno
import os
import sys
import threading
import time

import numpy as np
import pytest
import ray
import torch
from ray import cloudpickle
from torch import nn

from data.cache.feature_cache import FeatureCache
from data.cache.files import CacheError
from data.cache.settings import CacheSettings
from data.datasets.contract import DatasetError, DatasetInfo, Sample, palette_of
from data.datasets.shapes import Shapes
from models.settings import BackboneSettings
from search.running.nodes.cache_tasks import fill_by_tasks
from search.running.resources import Resources, ResourcesError
from training.extraction import FrozenBackbone, cache_features

SIDE_PX = 321
NUM_TRAIN = 12
BACKBONE = BackboneSettings("local")

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True)
def _two_images_a_shard(monkeypatch):
    monkeypatch.setattr("training.extraction.SHARD_PX", 2 * SIDE_PX * SIDE_PX)


class Scenes:
    """Images whose number is in every pixel; each read leaves a line in ``visits``."""

    info = DatasetInfo("scenes", ("a", "b"), palette_of(2))

    def __init__(self, visits, seconds=0.0, error=None):
        self.visits, self.seconds, self.error = visits, seconds, error

    def split(self, name):
        return self

    def __len__(self):
        return NUM_TRAIN

    def __getitem__(self, index):
        with self.visits.open("a") as file:
            file.write(f"{index} {ray.get_runtime_context().get_node_id()}\n")
        time.sleep(self.seconds)
        if self.error is not None and index == 5:
            raise self.error
        return Sample(str(index), np.full((SIDE_PX, SIDE_PX, 3), index, np.uint8), np.zeros((SIDE_PX, SIDE_PX), np.uint8))

    def extent_px(self):
        return SIDE_PX, SIDE_PX

    def fingerprint(self, digests=None):
        return "scenes"


class Every16thPixel(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images_BCHW):
        return [images_BCHW[:, :, ::16, ::16]]


class DiesAlways(Every16thPixel):
    def forward(self, images_BCHW):
        os._exit(1)


def by_tasks(extraction, workers, progress, resources=Resources(), retries=0):  # noqa: B008
    return fill_by_tasks(extraction, workers, progress, resources, retries, 16)


def built(folder, dataset, fill=by_tasks, backbone=None, progress=lambda done, total: None):
    settings = CacheSettings(str(folder), workers=2)
    frozen = FrozenBackbone(BACKBONE, "w", lambda: backbone or Every16thPixel())
    return FeatureCache(cache_features(dataset, "train", frozen, settings, progress, fill))


def nodes_that_read(visits):
    return {line.split()[1] for line in visits.read_text().splitlines()}


def assert_holds_every_scene(cache):
    cache.verify()
    for index in range(NUM_TRAIN):
        np.testing.assert_allclose(cache[index][0], (index / 255 - 0.5) / 0.5, atol=1e-3)


def test_tasks_build_the_cache_that_a_process_builds_byte_for_byte(two_nodes, one_thread, tmp_path):
    dataset, told = Shapes(num_train=6, num_val=2, size_px=SIDE_PX), []
    caches = []
    for name, fill in (("tasks", by_tasks), ("process", None)):
        settings = CacheSettings(str(tmp_path / name), workers=2 if fill else 1)
        filler = {"fill": fill, "progress": lambda *done: told.append(done)} if fill else {}
        caches.append(cache_features(dataset, "train", FrozenBackbone.of(BACKBONE, settings), settings, **filler))
    files = sorted(path.name for path in caches[1].iterdir())
    assert len(files) == 3 * 3 + 2  # three of each shard, the manifest and seen.json
    assert [path.name for path in sorted(caches[0].iterdir()) if path.suffix != ".lock"] == files
    for name in files:
        assert (caches[0] / name).read_bytes() == (caches[1] / name).read_bytes()
    assert told == sorted(told)
    assert told[-1] == (6, 6)


def test_the_tasks_are_spread_over_the_nodes(two_nodes, tmp_path):
    assert_holds_every_scene(built(tmp_path / "cache", Scenes(tmp_path / "visits", seconds=1.0)))
    assert len(nodes_that_read(tmp_path / "visits")) == 2


def test_a_task_whose_node_is_lost_starts_again_on_another_and_keeps_the_shards_that_are_there(two_nodes, tmp_path):
    visits = tmp_path / "visits"
    spots = [two_nodes.add_node(num_cpus=2) for _ in range(2)]  # none but they hold a task of two CPUs

    def lose_the_one_that_reads():
        while not visits.exists() or len(visits.read_text().splitlines()) < 5:
            time.sleep(0.05)
        [reading] = nodes_that_read(visits)
        two_nodes.remove_node(next(spot for spot in spots if spot.node_id == reading), allow_graceful=False)

    def fill(extraction, workers, progress):
        return by_tasks(extraction, 1, progress, Resources(cpu=2), retries=1)

    loss = threading.Thread(target=lose_the_one_that_reads)
    loss.start()
    cache = built(tmp_path / "cache", Scenes(visits, seconds=0.3), fill)
    loss.join()
    assert_holds_every_scene(cache)
    assert len(nodes_that_read(visits)) == 2
    read = [int(line.split()[0]) for line in visits.read_text().splitlines()]
    assert read.count(0) == 1  # its shard was there
    assert len(read) > NUM_TRAIN


@pytest.mark.parametrize(
    "error", [DatasetError("5: label 77 at row 0"), OSError(errno.ENOSPC, "No space left on device", "/shared")], ids=type
)
def test_what_a_task_raises_is_raised_here(two_nodes, tmp_path, error):
    with pytest.raises(type(error)) as caught:
        built(tmp_path / "cache", Scenes(tmp_path / "visits", error=error))
    assert str(caught.value) == str(error)


def test_tasks_that_all_die_end_the_build_and_the_next_one_goes_on(two_nodes, tmp_path):
    scenes = Scenes(tmp_path / "visits")
    with pytest.raises(CacheError, match=r"each task that extracted features died .* cache.workers=1 needs the least memory"):
        built(tmp_path / "cache", scenes, backbone=DiesAlways())
    assert_holds_every_scene(built(tmp_path / "cache", scenes))


def test_a_task_that_no_node_can_hold_is_refused(two_nodes, tmp_path):
    def fill(extraction, workers, progress):
        return by_tasks(extraction, workers, progress, Resources(cpu=64))

    with pytest.raises(ResourcesError, match=r"resources\.cpu: a trial asks for 64"):
        built(tmp_path / "cache", Scenes(tmp_path / "visits"), fill)
