import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.cost import FeatureShape, cell_cost
from models.dpc import DensePredictionCell
from models.settings import CellSettings
from models.spec import CellSpec
from search.conf_files import CONF
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings

CITYSCAPES = {"height": 65, "width": 129}  # 1025 x 2049 pixels at stride 16
SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)


def named(name):
    return CellSpec.read(CONF / "cell" / f"{name}.json")


@pytest.mark.parametrize(("channels", "params", "madds"), [(320, "0.36", "3.00"), (2048, "0.81", "6.84")])
def test_the_published_cell_costs_what_table_1_prints(channels, params, madds):
    cost = cell_cost(named("dpc_top1"), FeatureShape(channels, **CITYSCAPES))
    assert (f"{cost.params_paper / 1e6:.2f}", f"{cost.madds_paper / 1e9:.2f}") == (params, madds)


@pytest.mark.parametrize(("channels", "params", "madds"), [(320, "0.42", "2.82"), (2048, "2.68", "18.05")])
def test_aspp_costs_its_convolutions(channels, params, madds):
    """Table 1 prints 0.25M and 2.82B, 1.59M and 18.12B, which no single convention gives; nothing is tuned to it."""
    features = FeatureShape(channels, **CITYSCAPES)
    cost = cell_cost(named("aspp"), features)
    convolutions = cost.madds_paper - 5 * 256 * features.positions
    assert (f"{cost.params_paper / 1e6:.2f}", f"{convolutions / 1e9:.2f}") == (params, madds)


def cells():
    from random import Random

    rng = Random(0)
    return [named("dpc_top1"), named("aspp"), *(SPACE.sample(rng) for _ in range(8))]


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_costs_agree_with_the_built_module(cell):
    module = DensePredictionCell(cell, in_channels=24, settings=CellSettings(filters=16)).eval()
    cost = cell_cost(cell, FeatureShape(channels=24, height=9, width=11), filters=16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 24, 9, 11))
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())
    assert cost.madds == counter.get_total_flops() / 2
