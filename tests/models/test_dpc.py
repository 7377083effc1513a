from dataclasses import dataclass
from random import Random

import pytest
import torch

from models.dpc import DensePredictionCell, classifier_on
from models.operators import build_operator
from models.settings import CellSettings
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings

OPERATORS = (Conv1x1(), AtrousConv((1, 1)), AtrousConv((21, 3)), PyramidPooling((1, 1)), PyramidPooling((4, 8)))


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_an_operator_keeps_the_size_and_gives_the_filters(operator):
    module = build_operator(operator, 6, CellSettings(filters=4))
    assert module(torch.randn(2, 6, 13, 17)).shape == (2, 4, 13, 17)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_every_parameter_of_an_operator_gets_a_gradient(operator):
    module = build_operator(operator, 6, CellSettings(filters=4))
    module(torch.randn(2, 6, 13, 17)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


def seen_from_the_centre(operator, output_stride):
    module = build_operator(operator, 1, CellSettings(filters=1, output_stride=output_stride)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    features = torch.ones(1, 1, 41, 41, requires_grad=True)
    module(features)[0, 0, 20, 20].backward()
    return {(y - 20, x - 20) for y, x in features.grad[0, 0].nonzero().tolist()}


@pytest.mark.parametrize(("output_stride", "factor"), [(16, 1), (8, 2)])
def test_an_atrous_convolution_sees_its_rate_and_twice_that_at_stride_8(output_stride, factor):
    expected = {(factor * 3 * i, factor * 6 * j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert seen_from_the_centre(AtrousConv((3, 6)), output_stride) == expected


def test_pooling_takes_the_means_of_the_grids_cells():
    module = build_operator(PyramidPooling((2, 2)), 1, CellSettings(filters=1)).eval()
    torch.nn.init.ones_(module.project[0].weight)
    features = torch.zeros(1, 1, 8, 8)
    features[..., :4, :4] = 4.0
    output = module(features)[0, 0].detach()
    assert output[0, 0] == pytest.approx(4.0, abs=1e-4)
    assert output[-1, -1] == pytest.approx(0.0, abs=1e-4)


def test_a_cell_reads_what_its_spec_says():
    cell = CellSpec((Branch(BACKBONE, Conv1x1()), Branch(0, AtrousConv((1, 6))), Branch(BACKBONE, Conv1x1())))
    module = DensePredictionCell(cell, in_channels=5, settings=CellSettings(filters=4)).eval()
    features = torch.randn(2, 5, 9, 9)
    first = module.branches[0](features)
    outputs = [first, module.branches[1](first), module.branches[2](features)]
    assert torch.equal(module(features), module.project(outputs))


def test_cells_equal_up_to_branch_order_compute_the_same_function():
    rng = Random(1)
    space = CellSpace(4, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3]), "c": PyramidPoolings([1, 2])})
    cell = space.sample(rng)
    torch.manual_seed(0)
    a = classifier_on(cell.canonical(), 3, 2, CellSettings(filters=4))
    torch.manual_seed(0)
    b = classifier_on(cell.canonical().canonical(), 3, 2, CellSettings(filters=4))
    features = torch.randn(2, 3, 9, 9)
    assert torch.equal(a.eval()(features), b.eval()(features))


@dataclass(frozen=True)
class Identity:
    """An operator of a user's own."""

    def to_json(self):
        return {"op": "identity"}

    @classmethod
    def from_json(cls, entry):
        return cls() if entry.get("op") == "identity" else None

    def __str__(self):
        return "identity"


def test_an_operator_without_a_module_is_named():
    with pytest.raises(TypeError, match=r"no module for Identity: register one"):
        build_operator(Identity(), 3, CellSettings())
