"""The weights that a training begins with."""

import math

import pytest
import torch
from torch import nn

from models.auxiliary import auxiliary_head
from models.dpc import DensePredictionCell, classifier_on
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling

CELL = CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1()), Branch(-1, PyramidPooling((2, 2)))))
DEEPLAB = CellSettings(filters=64, initial="deeplab")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def is_normal(convolution, std):
    """Cut off at twice its deviation, which makes it narrower."""
    weight = convolution.weight.detach()
    return weight.abs().max() <= 2 * std and weight.std().item() == pytest.approx(0.88 * std, rel=0.1)


def is_xavier(convolution):
    """``slim.conv2d``'s own: uniform, and as wide as inputs and outputs are few."""
    weight = convolution.weight.detach()
    inputs, outputs = weight[0].numel(), weight.shape[0] * weight[0, 0].numel()
    bound = math.sqrt(6 / (inputs + outputs))
    return 0.97 * bound < weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_only_both_parts_of_a_separable_convolution_and_the_classifier_have_deeplabs_normals():
    cell, classifier = classifier_on(CELL, 64, 19, DEEPLAB)
    assert isinstance(cell, DensePredictionCell)
    atrous, pointwise, pooling = cell.branches
    assert is_normal(atrous[0], 0.33)
    assert is_normal(atrous[3], 0.06)
    assert is_normal(classifier, 0.01)
    assert not classifier.bias.any()
    for plain in (pointwise[0], pooling.project[0], cell.project[1]):
        assert is_xavier(plain)


def test_a_decoder_and_an_auxiliary_head_are_drawn_by_deeplabs_rule():
    model = Segmenter(CELL, 19, BackboneSettings("local"), DEEPLAB, decoder=True)
    assert model.decoder is not None
    assert is_xavier(model.decoder.reduce[0])
    for separable in model.decoder.refine:
        assert is_normal(separable[0], 0.33)
        assert is_normal(separable[3], 0.06)
    (plain, *_), _, classifier = auxiliary_head(64, 19, DEEPLAB)
    assert is_xavier(plain)
    assert is_normal(classifier, 0.01)


def test_torchs_own_are_not_touched():
    plain = nn.Conv2d(64, 19, 1)
    _, classifier = classifier_on(CELL, 64, 19, CellSettings(filters=64))
    assert classifier.weight.abs().max() <= plain.weight.abs().max() * 1.01
    assert classifier.bias.any()
