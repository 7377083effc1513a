from functools import partial

import pytest
import torch

from models.dpc import classifier_on
from models.settings import CellSettings
from models.spec import CellSpec
from search.conf_files import CONF
from training.half_weights import HalfWeights
from training.losses import segmentation_loss
from training.optim import build_optimizer
from training.settings import OptimizerSettings
from training.step import update

pytestmark = pytest.mark.usefixtures("one_thread")


def test_weights_that_are_cast_together_train_to_the_same_bits_as_autocasts():
    sides = []
    for is_together in (False, True):
        torch.manual_seed(0)
        cell = CellSpec.read(CONF / "cell" / "dpc_top1.json")
        model = classifier_on(cell, 6, 3, CellSettings(filters=8)).train()
        optimizer = build_optimizer(OptimizerSettings("sgd", 0.1), model)
        called = HalfWeights(model) if is_together else model
        for _ in range(2):
            batch = torch.randn(4, 6, 5, 5), torch.randint(0, 3, (4, 65, 65), dtype=torch.uint8)
            loss_of = partial(segmentation_loss, ignore_label=255)
            loss = update(called, optimizer, loss_of, *batch, "bfloat16", max_norm=0.05)
        sides.append([loss, *(parameter.detach() for parameter in model.parameters())])
    assert all(torch.equal(ours, autocasts) for ours, autocasts in zip(*sides, strict=True))
