"""What there was to choose in a cell, as numbers that do not depend on the order of its branches."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import log2
from statistics import fmean

from models.spec import BACKBONE, AtrousConv, CellSpec, PyramidPooling
from search.findings.operator_usage import kind_of_operator


@dataclass(frozen=True)
class Choice:
    """One of them.

    Attributes:
        step: what a difference of 1 means.
        of: its number; None where the cell has nothing that it is about.
        is_count: whether it is a whole number; else a mean of logarithms to base 2.
    """

    name: str
    step: str
    of: Callable[[CellSpec], float | None]
    is_count: bool = True

    def written(self, value: float) -> str:
        """As a person says it: a rate is not its logarithm."""
        return f"{value:.0f}" if self.is_count else f"{2**value:.2g}"


def choices(cells: Sequence[CellSpec]) -> Iterator[Choice]:
    """All that these cells leave to choose: kinds of operator, how branches are joined, how far they see.

    The most frequent kind has none of its own: there are as many branches of it as the others leave.
    """
    kinds = Counter(kind_of_operator(branch.operator) for cell in cells for branch in cell.branches)
    (usual, _), *others = sorted(kinds.items(), key=lambda counted: (-counted[1], counted[0]))
    for kind, _ in others:
        yield Choice(f"{kind} branches", f"one more for one {usual}", partial(_count_of_kind, kind=kind))
    yield Choice("backbone readers", "one more branch", _count_on_backbone)
    yield Choice("depth", "one more in a row", _depth)
    yield Choice("atrous rates", "doubled", _mean_rate, is_count=False)
    yield Choice("oblong rates", "one side doubled", _oblong, is_count=False)
    yield Choice("pooling grids", "doubled", _mean_grid, is_count=False)


def _count_of_kind(cell: CellSpec, kind: str) -> float:
    return sum(kind_of_operator(branch.operator) == kind for branch in cell.branches)


def _count_on_backbone(cell: CellSpec) -> float:
    return sum(branch.input == BACKBONE for branch in cell.branches)


def _depth(cell: CellSpec) -> float:
    """Operators on the longest way."""
    depth = {BACKBONE: 0}
    for index, branch in enumerate(cell.branches):
        depth[index] = depth[branch.input] + 1
    return max(depth.values())


def _mean_rate(cell: CellSpec) -> float | None:
    return _mean_log([branch.operator.rate for branch in cell.branches if isinstance(branch.operator, AtrousConv)])


def _mean_grid(cell: CellSpec) -> float | None:
    return _mean_log([branch.operator.grid for branch in cell.branches if isinstance(branch.operator, PyramidPooling)])


def _oblong(cell: CellSpec) -> float | None:
    rates = [branch.operator.rate for branch in cell.branches if isinstance(branch.operator, AtrousConv)]
    return fmean(abs(log2(rows / columns)) for rows, columns in rates) if rates else None


def _mean_log(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Of a square with the same area."""
    return fmean(log2(rows * columns) / 2 for rows, columns in pairs) if pairs else None
