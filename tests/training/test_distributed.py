"""Data-parallel training by real Ray Train workers, with gloo on the CPU."""

import os
import queue
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
import ray
import torch
import torch.distributed as dist
from ray import cloudpickle
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from data.datasets.contract import DatasetError, DatasetInfo, Sample, palette_of
from models.backbones import build_backbone
from models.segmenter import CoarseLogits, Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1
from search.running.nodes.cluster import connect
from search.running.ray_internals import without_servers
from training import distributed
from training.distributed import TrainWorkers, retrain_on_cluster
from training.end_to_end import EndToEndTask, retrain
from training.settings import OptimizerSettings, RetrainSettings
from training.sync_batch_norm import synchronise
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
    freeze_batch_norm=False,
    ema_decay=0.5,
    cell=CellSettings(filters=8, dropout=0.0),
    optimizer=OptimizerSettings("sgd", 0.05),
)


class FiveImages:
    """Each of another brightness, and with another share of it labelled: what one worker sees is not what another does."""

    info = DatasetInfo("five", ("a", "b", "c"), palette_of(3))

    def split(self, name):
        return self

    def __len__(self):
        return 5

    def __getitem__(self, index):
        labels_HW = np.random.default_rng(index).integers(0, 3, (13, 13), np.uint8).repeat(5, 0).repeat(5, 1)
        image_HWC = np.stack([labels_HW * (40 + 20 * index)] * 3, axis=-1)
        labels_HW[13 * index :] = 255
        labels_HW[:5] = index % 3
        return Sample(str(index), image_HWC, labels_HW)

    def fingerprint(self, digests=None):
        return "five"


class DiesOnce(FiveImages):
    """Kills the second worker in its third step, after two of two images and a validation of two, once."""

    def __init__(self, mark):
        self.mark = mark

    def __getitem__(self, index):
        context = ray.train.get_context()
        if context.get_world_rank() == 1:
            with self.mark.open("a") as file:
                file.write("x")
            if self.mark.stat().st_size == 7:
                os._exit(1)
        return super().__getitem__(index)


class Missing(FiveImages):
    """Is not there, as a worker finds."""

    def split(self, name):
        raise DatasetError("one: train.txt: no such file")


@pytest.fixture(scope="module")
def cluster():
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    one_thread = {"env_vars": {"OMP_NUM_THREADS": "1"}}
    with without_servers():
        ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env=one_thread)
    connect(None)  # does nothing: this process has joined a cluster
    yield
    ray.shutdown()


def on_cluster(dataset, folder, retries=0, tell=lambda progress: None):
    task = EndToEndTask(dataset, BACKBONE, SETTINGS)
    return list(retrain_on_cluster(task, CELL, 0, folder, workers=2, resources={"CPU": 1}, retries=retries, tell=tell))


def test_two_workers_train_as_one_with_the_whole_batch_and_go_on_from_the_last_validation_when_killed(cluster, tmp_path):
    expected = list(retrain(EndToEndTask(FiveImages(), BACKBONE, SETTINGS), CELL, 0, tmp_path / "alone"))
    told = []
    validations = on_cluster(DiesOnce(tmp_path / "mark"), tmp_path / "two", retries=1, tell=told.append)
    assert (tmp_path / "mark").stat().st_size > 7
    assert [validation.iteration for validation in validations] == [2, 4]
    assert [(progress.iteration, progress.loss) for progress in told] == [(v.iteration, v.loss) for v in validations]
    assert [v.loss for v in validations] == pytest.approx([v.loss for v in expected], rel=1e-5)
    assert [v.scores.miou for v in validations] == pytest.approx([v.scores.miou for v in expected], abs=1e-3)
    models = [Segmenter.from_pretrained(tmp_path / name).state_dict() for name in ("two", "alone")]
    for name, weights in models[1].items():
        assert np.allclose(models[0][name], weights, rtol=1e-4, atol=1e-5), name


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
    task = EndToEndTask(FiveImages(), BACKBONE, SETTINGS)
    with pytest.raises(ValueError, match="training.batch_size must be a multiple of data_parallel=3, got 4"):
        next(retrain_on_cluster(task, CELL, 0, tmp_path, workers=3, resources={"CPU": 1}))


@pytest.fixture
def by_itself(tmp_path):
    """This process as the only one of a group."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("backbone", ["local", "tu-mobilenetv2_100"], ids=["with torch's", "with timm's"])
def test_synchronised_batch_norm_of_one_process_does_what_batch_norm_does(backbone, by_itself):
    encoders = [build_backbone(BackboneSettings(backbone)).train() for _ in range(2)]
    names = list(encoders[0].state_dict())
    synchronise(encoders[1], torch.device("cpu"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoders[1].modules())
    images_BCHW = torch.randn(4, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    for encoder in encoders:
        encoder.double()(images_BCHW.double())[-1].square().sum().backward()
    states = [dict(encoder.state_dict(), **gradients_of(encoder)) for encoder in encoders]
    assert names == list(encoders[1].state_dict())
    for name, expected in states[0].items():
        assert torch.allclose(states[1][name], expected, rtol=1e-6, atol=1e-9), name


def test_workers_train_an_encoder_with_a_layer_that_its_features_do_not_need(by_itself, monkeypatch):
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(ray.train.torch, "prepare_model", lambda model, **_: DistributedDataParallel(model))
    model = CoarseLogits(Segmenter(CELL, 3, BACKBONE, CellSettings(filters=8)))
    model.segmenter.encoder.classifier = nn.Linear(8, 1000)
    wrapped = TrainWorkers(0, 1).wrap(model)
    images_BCHW = torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        wrapped(images_BCHW).sum().backward()
    left_out = {name.split(".")[2] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert left_out == {"classifier"}


def gradients_of(model):
    return {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
