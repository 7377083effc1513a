"""What a CPU shows of a trial on a GPU: tensors without data on "cuda:1", kernels that are written down and not run."""

import logging
import math
from contextlib import ExitStack, nullcontext
from functools import partial
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from data.system.locks import LockedError
from models import fused
from models.dpc import classifier_on
from models.settings import CellSettings
from models.spec import CellSpec
from search.conf_files import CONF
from training import losses
from training.features import ResidentFeatures
from training.graph_step import GraphStep
from training.losses import segmentation_loss
from training.optim import RATE

pytest.importorskip("triton")

import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from models.kernels import layers
from models.kernels.atrous import _place
from models.kernels.batch_norm import tile
from models.kernels.dropout import strided
from training.kernels import upsampled_loss

GPU = torch.device("cuda:1")
IMAGES, HEIGHT, WIDTH, CHANNELS = 2975, 65, 129, 320
"""Cityscapes' training images at output stride 16: 8e9 values."""


class Stream:
    made = ()

    def __init__(self, device):
        Stream.made += (device,)

    def wait_stream(self, other):
        pass


class Resting(torch.optim.SGD):
    """Torch's fused update asks for a driver."""

    def step(self):
        weights = [weight for group in self.param_groups for weight in group["params"] if weight.grad is not None]
        assert {(weight.grad.device, weight.grad.dtype) for weight in weights} == {(GPU, torch.float32)}


@pytest.fixture
def on_a_second_gpu(monkeypatch):
    """Launches, and devices that were made the current one, meanwhile."""
    launches, devices = [], []

    def device_of(tensor):
        devices.append(tensor.device)
        return nullcontext()

    def refuse(graph):
        raise RuntimeError("nothing is captured here")

    monkeypatch.setattr(Stream, "made", ())
    monkeypatch.setattr(InterpretedFunction, "run", lambda kernel, *given, grid, **named: launches.append((kernel, given)))
    monkeypatch.setattr(fused, "_layer_kernels", lambda device: layers)
    monkeypatch.setattr(losses, "_loss_kernels", lambda *_: upsampled_loss)
    for name, value in {
        "device_of": device_of,
        "Stream": Stream,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda: Stream.__new__(Stream),
        "CUDAGraph": lambda: None,
        "graph": refuse,
        "is_bf16_supported": lambda: True,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with ExitStack() as stack:
        stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield launches, devices


def test_a_trial_on_a_second_gpu_stays_there_on_one_stream_of_its_own_and_asks_the_host_for_nothing(
    on_a_second_gpu, monkeypatch
):
    launches, devices = on_a_second_gpu
    with torch.device(GPU):
        cell = CellSpec.read(CONF / "cell" / "dpc_top1.json")
        model = classifier_on(cell, 24, 5, CellSettings(filters=16)).train()
        features = ResidentFeatures.__new__(ResidentFeatures)
        features._label_step = 16
        features._features_NHWC = torch.empty(IMAGES, 9, 13, 24, dtype=torch.float16)
        features._labels_NHW = torch.empty(IMAGES, 129, 193, dtype=torch.uint8)
        samples_IB, corners_IB2 = torch.zeros(9, 4, dtype=torch.int64), torch.zeros(9, 4, 2, dtype=torch.int64)
        step = GraphStep(
            model,
            Resting([{"params": list(model.parameters()), RATE: 1.0}]),
            lambda i_1: features.cut(samples_IB.index_select(0, i_1)[0], corners_IB2.index_select(0, i_1)[0], 7),
            partial(segmentation_loss, ignore_label=255),
            torch.zeros(9),
            "bfloat16",
        )
        weights = step._model._half.values()  # autograd would ask the driver which devices there are
        monkeypatch.setattr(torch.Tensor, "backward", lambda loss: [setattr(w, "grad", torch.ones_like(w)) for w in weights])
        found = [step(iteration) for iteration in range(6)]
    assert Stream.made == (GPU,)
    assert {loss.device for loss in found} == {GPU}
    assert {value.device for _, given in launches for value in given if isinstance(value, torch.Tensor)} == {GPU}
    assert set(devices) == {GPU}


@pytest.mark.parametrize(("eager_steps", "captured_after"), [(None, []), (0, [0]), (2, [2])])
def test_a_capture_is_tried_once_after_the_eager_steps_or_never(on_a_second_gpu, monkeypatch, eager_steps, captured_after):
    ran, found = [], []
    monkeypatch.setattr(GraphStep, "_run", lambda step: ran.append(1))
    monkeypatch.setattr(GraphStep, "_capture", lambda step: found.append(len(ran)))
    with torch.device(GPU):
        model = nn.Linear(1, 1)
        step = GraphStep(model, Resting(model.parameters()), None, None, torch.zeros(9), eager_steps=eager_steps)
        for iteration in range(5):
            step(iteration)
    assert found == captured_after
    assert len(ran) == 5


class Indices(TorchDispatchMode):
    """The most numbers that an index had."""

    most = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **(keywords or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.int64:
            self.most = max(self.most, found.numel())
        return found


def test_crops_of_more_values_than_32_bits_count_are_right_without_an_index_for_each_pixel(tmp_path):
    size, step = (IMAGES, HEIGHT, WIDTH, CHANNELS), 4
    features = ResidentFeatures.__new__(ResidentFeatures)
    features._label_step = step
    values = torch.from_file(str(tmp_path / "sparse"), shared=True, size=math.prod(size), dtype=torch.float16)
    features._features_NHWC = values.view(size)  # of which the disk holds what is written
    features._labels_NHW = torch.zeros(1, dtype=torch.uint8).expand(IMAGES, step * 64 + 1, step * 128 + 1)
    features._features_NHWC[-1, 60, 120, 319] = 7
    with Indices() as indices:
        features_BCHW, labels_BHW = features.cut(torch.tensor([0, IMAGES - 1]), torch.tensor([[0, 0], [58, 117]]), 5)
    assert features_BCHW.nonzero().tolist() == [[1, 319, 2, 3]]
    assert features_BCHW[1, 319, 2, 3] == 7
    assert labels_BHW.shape == (2, 17, 17)
    assert indices.most <= 4


@triton.jit
def places_of(found, number, channels, height, width, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    row, channel, place, _ = tile(number, 2**31 - 1, channels, ROWS, CHANNELS)
    inside = tl.arange(0, ROWS)[:, None] * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    tl.store(found + inside, place)
    tl.store(found + ROWS * CHANNELS + inside, strided(row, channel, channels))
    image, pixel = row // (height * width), row % (height * width)
    tl.store(
        found + 2 * ROWS * CHANNELS + inside, _place(image, pixel // width, pixel % width, channel, height, width, channels)
    )


def test_kernels_find_values_beyond_the_reach_of_32_bits():
    rows, channels = 4, 8
    number = IMAGES * HEIGHT * WIDTH // rows - 1
    found = torch.zeros(3, rows, channels, dtype=torch.int64)
    places_of[(1,)](found, number, CHANNELS, HEIGHT, WIDTH, ROWS=rows, CHANNELS=channels)
    expected = (number * rows + torch.arange(rows)[:, None]) * CHANNELS + torch.arange(channels)
    assert expected.min() > 2**31
    assert torch.equal(found, expected.expand(3, -1, -1))


def test_kernels_are_compiled_by_one_process_of_a_node_at_a_time_and_what_takes_long_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "node"))
    clock_s = [0.0]
    monkeypatch.setattr(fused.time, "monotonic", lambda: clock_s[0])

    def check(kernels):
        with pytest.raises(LockedError), fused.Lock(tmp_path / "node" / "dpc-search.lock"):
            pass
        clock_s[0] += 16

    with caplog.at_level(logging.WARNING):
        assert fused.kernels_that_work("models.kernels.layers", torch.device("cuda"), check) is layers
    (record,) = caplog.records
    assert record.message == f"models.kernels.layers: compiled and checked on cuda in 16 s, once per node ({tmp_path / 'node'})"
