"""The weights that a training begins with."""

import pytest
import torch
from torch import nn

from models.dpc import classifier_on
from models.settings import CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1

CELL = CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1())))


def weights(initial):
    """Of each kind of convolution, by name."""
    torch.manual_seed(0)
    cell, classifier = classifier_on(CELL, 64, 19, CellSettings(filters=64, initial=initial))
    convolutions = [module for module in cell.modules() if isinstance(module, nn.Conv2d)]
    depthwise = torch.cat([conv.weight.flatten() for conv in convolutions if conv.groups > 1])
    dense = torch.cat([conv.weight.flatten() for conv in convolutions if conv.groups == 1])
    return {"depthwise": depthwise, "dense": dense, "logits": classifier.weight.flatten(), "bias": classifier.bias}


def test_deeplabs_weights_are_normals_cut_off_at_twice_their_deviation():
    drawn = weights("deeplab")
    for name, std in {"depthwise": 0.33, "dense": 0.06, "logits": 0.01}.items():
        assert drawn[name].abs().max() <= 2 * std
        assert drawn[name].std().item() == pytest.approx(0.88 * std, rel=0.1), "a normal that is cut off is narrower"
    assert not drawn["bias"].any()


def test_torchs_own_are_not_touched():
    torch.manual_seed(0)
    plain = nn.Conv2d(64, 19, 1)
    assert weights("torch")["logits"].abs().max() <= plain.weight.abs().max() * 1.01
    assert weights("torch")["bias"].any()
