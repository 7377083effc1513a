"""The steps of whole models that a GPU's settings choose, on a CPU."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from training.optim import build_optimizer
from training.settings import GpuSettings, OptimizerSettings, RetrainSettings
from training.step import Step
from training.whole_step import LoadedGraphStep, whole_step

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = RetrainSettings(4, 4, 33, 33, 2, precision="bfloat16", optimizer=OptimizerSettings("sgd", 0.1, max_norm=0.5))


def batch_at(iteration):
    rng = torch.Generator().manual_seed(iteration)
    return torch.randn(2, 3, 5, 5, generator=rng), torch.randint(0, 4, (2, 5, 5), generator=rng)


def trained(make):
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3, padding=1)
    step = make(model, build_optimizer(SETTINGS.optimizer, model, {"bias": 0.1}))
    return [step(iteration).item() for iteration in range(4)]


def test_a_graph_on_batches_that_the_host_loads_takes_the_same_steps():
    rates = torch.tensor([SETTINGS.optimizer.learning_rate_at(iteration, 4) for iteration in range(4)])
    loss_of = nn.CrossEntropyLoss()
    expected = trained(lambda model, optimizer: whole_step(model, optimizer, SETTINGS, batch_at, loss_of, torch.device("cpu")))
    found = trained(lambda model, optimizer: LoadedGraphStep(model, optimizer, batch_at, loss_of, rates, SETTINGS))
    assert found == pytest.approx(expected, rel=1e-3)
    assert len(set(expected)) == 4


@pytest.mark.parametrize("is_timed", [False, True])
def test_convolutions_on_a_gpu_give_the_same_bits_again_unless_they_are_chosen_by_the_clock(is_timed, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not is_timed)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", is_timed)
    model = nn.Conv2d(3, 4, 3)
    settings = replace(SETTINGS, gpu=GpuSettings(cudnn_benchmark=is_timed))
    optimizer = build_optimizer(SETTINGS.optimizer, model)
    whole_step(model, optimizer, settings, batch_at, nn.CrossEntropyLoss(), torch.device("cuda"))
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (is_timed, not is_timed)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_settings_of_a_gpu_are_heeded_there_alone(device, monkeypatch):
    made = []
    monkeypatch.setattr(LoadedGraphStep, "__init__", lambda step, model, optimizer, batch_at, *_: made.append(batch_at))
    monkeypatch.setattr(torch, "tensor", lambda values, device: values)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    model = nn.Conv2d(3, 4, 3)
    settings = replace(SETTINGS, gpu=GpuSettings(graph=True, channels_last=True, cudnn_benchmark=True))
    optimizer = build_optimizer(SETTINGS.optimizer, model)
    step = whole_step(model, optimizer, settings, batch_at, nn.CrossEntropyLoss(), torch.device(device))
    on_gpu = device == "cuda"
    assert type(step) is (LoadedGraphStep if on_gpu else Step)
    assert torch.backends.cudnn.benchmark == on_gpu
    for laid_out in made:
        assert laid_out(0)[0].is_contiguous(memory_format=torch.channels_last)
