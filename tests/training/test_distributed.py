"""Data-parallel training by real Ray Train workers, with gloo on the CPU."""

import os
import queue
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
import ray
from ray import cloudpickle

from data.datasets.contract import DatasetError, DatasetInfo, Sample, palette_of
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1
from search.running.nodes.cluster import connect
from training import distributed
from training.distributed import retrain_on_cluster
from training.end_to_end import retrain
from training.settings import OptimizerSettings, RetrainSettings
from training.workers import ALONE

CELL = CellSpec((Branch(-1, AtrousConv((1, 2))), Branch(0, Conv1x1())))
BACKBONE = BackboneSettings("local")
SETTINGS = RetrainSettings(
    iterations=4,
    eval_every=2,
    height_px=65,
    width_px=65,
    batch_size=4,
    scales=(1.0,),
    flip=False,
    cell=CellSettings(filters=8, dropout=0.0),
    optimizer=OptimizerSettings("sgd", 0.05),
)


class OneImage:
    """The same one over and over: each worker's share has the statistics of the whole batch, so that all should be equal."""

    info = DatasetInfo("one", ("a", "b", "c"), palette_of(3))

    def split(self, name):
        return self

    def __len__(self):
        return 1

    def __getitem__(self, index):
        labels_HW = np.random.default_rng(0).integers(0, 3, (13, 13), np.uint8).repeat(5, 0).repeat(5, 1)
        return Sample("one", np.stack([labels_HW * 100] * 3, axis=-1), labels_HW)

    def fingerprint(self, digests=None):
        return "one"


class DiesOnce(OneImage):
    """Kills the second worker in its third step, once."""

    def __init__(self, mark):
        self.mark = mark

    def __getitem__(self, index):
        context = ray.train.get_context()
        if context.get_world_rank() == 1:
            with self.mark.open("a") as file:
                file.write("x")
            if self.mark.stat().st_size == 5:
                os._exit(1)
        return super().__getitem__(index)


class Missing(OneImage):
    """Is not there, as a worker finds."""

    def split(self, name):
        raise DatasetError("one: train.txt: no such file")


@pytest.fixture(scope="module")
def cluster():
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        "local", num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}
    )
    connect(None)  # does nothing: this process has joined a cluster
    yield
    ray.shutdown()


def on_cluster(dataset, folder, retries=0):
    return list(retrain_on_cluster(CELL, dataset, BACKBONE, SETTINGS, 0, folder, 2, {"CPU": 1}, retries))


def test_two_workers_train_as_one_with_the_whole_batch_and_go_on_from_the_last_validation_when_killed(cluster, tmp_path):
    expected = list(retrain(CELL, OneImage(), BACKBONE, SETTINGS, 0, tmp_path / "alone"))
    validations = on_cluster(DiesOnce(tmp_path / "mark"), tmp_path / "two", retries=1)
    assert (tmp_path / "mark").stat().st_size > 5
    assert [validation.iteration for validation in validations] == [2, 4]
    assert [v.loss for v in validations] == pytest.approx([v.loss for v in expected], rel=1e-4)
    assert [v.scores.miou for v in validations] == pytest.approx([v.scores.miou for v in expected], abs=1e-3)
    models = [Segmenter.from_pretrained(tmp_path / name).state_dict() for name in ("two", "alone")]
    for name, weights in models[1].items():
        assert np.allclose(models[0][name], weights, rtol=1e-3, atol=1e-4), name  # variances divide by one less than counted


def test_a_worker_that_keeps_failing_ends_the_training_with_its_reason(cluster, tmp_path):
    with pytest.raises(RuntimeError, match="data-parallel training failed"):
        on_cluster(DiesOnce(tmp_path / "mark"), tmp_path / "two")


def test_an_error_of_the_data_on_a_worker_is_told_as_it_is_and_not_tried_again(monkeypatch, tmp_path):
    class Trainer:
        """Ray Train's, with one worker in this process, which is started again for ever."""

        def __init__(self, work, train_loop_config, **_):
            self.fit = lambda: [work(train_loop_config) for _ in iter(int, 1)]

    monkeypatch.setattr(distributed, "Queue", queue.Queue)
    monkeypatch.setattr(distributed, "Empty", queue.Empty)
    monkeypatch.setattr(ray.train.torch, "TorchTrainer", Trainer)
    monkeypatch.setattr(distributed, "TrainWorkers", lambda *_: ALONE)
    monkeypatch.setattr(ray.train, "get_context", MagicMock())
    with pytest.raises(DatasetError, match="one: train.txt: no such file"):
        on_cluster(Missing(), tmp_path, retries=5)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ValueError, match="training.batch_size must be a multiple of data_parallel=3, got 4"):
        next(retrain_on_cluster(CELL, OneImage(), BACKBONE, SETTINGS, 0, tmp_path, 3, {"CPU": 1}))
