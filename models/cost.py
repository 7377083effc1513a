"""Exact costs of a cell, without building or running it. Pure Python.

Two conventions under their own names:

* *full*: every parameter of ``DensePredictionCell`` (branches, projection, batch norm) and the multiply-adds of its
  convolutions, projection included. Batch norm folds into them at inference.
* *paper*: what table 1 of Chen et al. 2018 prints for DPC. Parameters are the convolution weights of the branches;
  multiply-adds are those of the branches' convolutions plus one operation for each value that a branch puts out.
"""

from dataclasses import dataclass
from functools import singledispatch

from models.spec import BACKBONE, AtrousConv, CellSpec, Conv1x1, Operator, PyramidPooling


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """What one branch costs on one image.

    Attributes:
        weights: of its convolutions.
        batch_norm: parameters of batch norm, two per channel.
        madds: multiply-adds of its convolutions.
    """

    weights: int
    batch_norm: int
    madds: int


@dataclass(frozen=True, slots=True)
class CellCost:
    """What a cell costs on one image; the module's text says how each is counted.

    Attributes:
        latency_ms: by a table (``models.latency``); None without one.
    """

    params: int
    madds: int
    params_paper: int
    madds_paper: int
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """The backbone's feature map that a cell reads: channels, and rows and columns of features."""

    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"features.{name} must be at least 1, got {getattr(self, name)}.")

    @property
    def positions(self) -> int:
        return self.height * self.width


TABLE_1 = FeatureShape(320, 65, 129)
"""That of MobileNet-v2 for an image of 1025 x 2049 pixels at output stride 16, as in table 1."""


def cell_cost(cell: CellSpec, features: FeatureShape, filters: int = 256) -> CellCost:
    """The exact cost of ``cell`` on top of ``features``."""
    branches = [
        operator_cost(branch.operator, features.channels if branch.input == BACKBONE else filters, filters, features)
        for branch in cell.branches
    ]
    weights = sum(branch.weights for branch in branches)
    madds = sum(branch.madds for branch in branches)
    projection = len(cell) * filters * filters
    return CellCost(
        params=weights + sum(branch.batch_norm for branch in branches) + projection + 2 * filters,
        madds=madds + projection * features.positions,
        params_paper=weights,
        madds_paper=madds + len(cell) * filters * features.positions,
    )


@singledispatch
def operator_cost(operator: Operator, in_channels: int, filters: int, features: FeatureShape) -> OperatorCost:
    """What ``operator`` costs when it reads ``in_channels`` channels.

    Raises:
        TypeError: nothing is registered for this kind of operator.
    """
    raise TypeError(f"no cost for {type(operator).__name__}: register one with models.cost.operator_cost.register")


@operator_cost.register
def _(operator: Conv1x1, in_channels: int, filters: int, features: FeatureShape) -> OperatorCost:
    weights = in_channels * filters
    return OperatorCost(weights, 2 * filters, weights * features.positions)


@operator_cost.register
def _(operator: AtrousConv, in_channels: int, filters: int, features: FeatureShape) -> OperatorCost:
    weights = 9 * in_channels + in_channels * filters
    return OperatorCost(weights, 2 * in_channels + 2 * filters, weights * features.positions)


@operator_cost.register
def _(operator: PyramidPooling, in_channels: int, filters: int, features: FeatureShape) -> OperatorCost:
    weights = in_channels * filters
    return OperatorCost(weights, 2 * filters, weights * operator.grid[0] * operator.grid[1])
