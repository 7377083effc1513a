"""Which parameters follow their gradients how far."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.datasets.contract import DatasetInfo, Sample, palette_of
from data.datasets.file_split import FileSplit
from models.backbones import build_backbone
from models.settings import BackboneSettings
from training import class_weights
from training.class_weights import LabelPixels, label_pixels, weights_by_rule
from training.optim import build_optimizer
from training.settings import OptimizerSettings
from training.step import Step


class Tiny(nn.Module):
    """A backbone, named as the model has it, and a head: a convolution of each kind, with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1))

    def forward(self, values_BCHW):
        return self.head(self.encoder(values_BCHW))


def stepped(settings, rates=None, scale=1.0, iteration=0, iterations=10):
    """How far a step moves each parameter."""
    torch.manual_seed(0)
    model = Tiny()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch = torch.randn(2, 3, 5, 5), torch.zeros(2)
    optimizer = build_optimizer(settings, model, rates)
    Step(model, optimizer, settings, lambda _: batch, lambda output, _: scale * output.square().sum(), iterations)(iteration)
    return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}


def norm(moved):
    return math.sqrt(sum(float(change.square().sum()) for change in moved.values()))


def test_decay_of_convolutions_leaves_out_batch_norm_biases_and_depthwise_kernels():
    model = Tiny()
    groups = build_optimizer(OptimizerSettings(weight_decay=0.1, decayed="convolutions"), model).param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    assert [name for name, p in model.named_parameters() if id(p) in decayed] == ["encoder.0.weight", "head.1.weight"]
    (every,) = build_optimizer(OptimizerSettings(weight_decay=0.1), Tiny()).param_groups
    assert len(every["params"]) == len(list(Tiny().parameters()))


def test_decay_of_convolutions_has_the_linear_layers_of_a_transformer():
    model = build_backbone(BackboneSettings("mit_b0"))
    groups = build_optimizer(OptimizerSettings(weight_decay=0.1, decayed="convolutions"), model).param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert linear
    assert all(id(layer.weight) in decayed and id(layer.bias) not in decayed for layer in linear)
    assert not any(id(layer.weight) in decayed for layer in model.modules() if isinstance(layer, nn.LayerNorm))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_rates_of_backbone_and_head_are_factors_of_every_step(name):
    settings = OptimizerSettings(name, 0.01, weight_decay=0.0)
    alike, apart = stepped(settings), stepped(settings, {"encoder.": 0.0, "": 3.0})
    for parameter, change in apart.items():
        factor = 0.0 if parameter.startswith("encoder.") else 3.0
        torch.testing.assert_close(change, factor * alike[parameter], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_biases_of_convolutions_may_have_a_rate_of_their_own_and_those_of_batch_norm_have_not(name):
    settings = OptimizerSettings(name, 0.01, weight_decay=0.0)
    alike, apart = stepped(settings, {"head.": 3.0}), stepped(replace(settings, bias_rate=2.0), {"head.": 3.0})
    for parameter, change in apart.items():
        factor = 2.0 if parameter in ("encoder.0.bias", "head.0.bias", "head.1.bias") else 1.0
        torch.testing.assert_close(change, factor * alike[parameter], rtol=1e-4, atol=1e-7)
    groups = build_optimizer(replace(settings, bias_rate=2.0), Tiny()).param_groups
    assert {group["rate"]: len(group["params"]) for group in groups} == {1.0: 5, 2.0: 3}


def test_gradients_above_the_norm_are_shortened_to_it_and_others_are_not_touched():
    plain = {"learning_rate": 1.0, "weight_decay": 0.0, "momentum": 0.0}
    assert norm(stepped(OptimizerSettings(**plain, max_norm=0.5), scale=100.0)) == pytest.approx(0.5, rel=1e-3)
    free, bounded = (stepped(OptimizerSettings(**plain, max_norm=bound), scale=1e-3) for bound in (None, 1e3))
    assert all(torch.equal(free[name], bounded[name]) for name in free)


def test_a_rate_rises_in_equal_steps_to_its_schedule_and_falls_with_it():
    flat = OptimizerSettings(learning_rate=1.0, power=0.0, warmup=4)
    assert [flat.learning_rate_at(i, 8) for i in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = OptimizerSettings(learning_rate=2.0, schedule="cosine")
    assert [cosine.learning_rate_at(i, 4) for i in range(5)] == pytest.approx([2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0])


class TwoImages:
    """Class 0 fills a tenth of the first image and all of the second; 1 and 3 are in the first alone, 2 is in none."""

    info = DatasetInfo("two", ("a", "b", "c", "d"), palette_of(4))

    def __len__(self):
        return 2

    def __getitem__(self, index):
        first = [0] * 10 + [1] * 30 + [3] * 60 + [255] * 7
        labels_HW = np.array([first, [0] * 100 + [255] * 7][index], np.uint8)[None]
        return Sample(str(index), np.zeros((*labels_HW.shape, 3), np.uint8), labels_HW)


def test_a_class_is_counted_by_itself_and_with_what_else_is_labelled_in_the_images_that_show_it():
    pixels = label_pixels(TwoImages(), TwoImages.info)
    assert pixels == LabelPixels([110, 30, 0, 60], [200, 100, 0, 100])


class InOneFile(TwoImages):
    """A split that keeps where it stands, as one of a packed file does."""

    def __init__(self):
        self.threads = set()

    def __getitem__(self, index):
        self.threads.add(threading.current_thread())
        return super().__getitem__(index)


def test_the_labels_of_a_users_own_split_are_read_one_by_one_and_those_of_files_in_threads(tmp_path, monkeypatch):
    split = InOneFile()
    label_pixels(split, split.info)
    assert split.threads == {threading.current_thread()}
    readers = MagicMock(wraps=ThreadPoolExecutor)
    monkeypatch.setattr(class_weights, "ThreadPoolExecutor", readers)
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    Image.fromarray(np.full((2, 3), 1, np.uint8)).save(tmp_path / "a.png")
    files = FileSplit(TwoImages.info, tmp_path, (("a.png", "a.png"),))
    assert label_pixels(files, files.info).own_K == [0, 6, 0, 0]
    readers.assert_called_once_with(class_weights.READERS_AT_MOST)


def test_class_weights_follow_from_the_labels_by_the_rules_of_their_papers():
    pixels = label_pixels(TwoImages(), TwoImages.info)
    assert weights_by_rule("median_frequency", pixels) == pytest.approx([0.55 / 0.55, 0.55 / 0.3, 0.0, 0.55 / 0.6])
    expected = [1 / math.log(1.02 + share) if share else 0.0 for share in (0.55, 0.15, 0.0, 0.3)]
    assert weights_by_rule("inverse_log", pixels) == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["median_frequency", "inverse_log"])
def test_no_label_at_all_gives_no_class_a_weight(rule):
    assert weights_by_rule(rule, LabelPixels([0, 0], [0, 0])) == [0.0, 0.0]
