"""Lists of cells small enough to train every one."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Protocol, runtime_checkable

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Operator
from search.deciding.space import CellSpace, OperatorFamily, check_families, check_sizes


@runtime_checkable
class CellList(Protocol):
    """Anything that can list cells."""

    def cells(self) -> tuple[CellSpec, ...]: ...


@dataclass(frozen=True)
class SquareAtrousConvs:
    """3x3 atrous separable convolutions of the rates r x r, as ASPP has them."""

    rates: tuple[int, ...]

    def __post_init__(self) -> None:
        check_sizes("rates", self.rates)

    def operators(self) -> tuple[Operator, ...]:
        return tuple(AtrousConv((rate, rate)) for rate in self.rates)


@dataclass(frozen=True)
class SideBySide:
    """Every choice of at least one of n operators, side by side over the backbone's features: 2^n - 1 cells.

    With the five branches of ASPP that makes 31, as many as Chen et al. 2018 train in section 4.1.
    """

    operators: Mapping[str, OperatorFamily]

    def __post_init__(self) -> None:
        check_families("cells.operators", self.operators)

    def cells(self) -> tuple[CellSpec, ...]:
        choices = [operator for family in self.operators.values() for operator in family.operators()]
        return tuple(
            CellSpec(tuple(Branch(BACKBONE, operator) for operator in chosen)).canonical()
            for size in range(1, len(choices) + 1)
            for chosen in combinations(choices, size)
        )


@dataclass(frozen=True)
class UniformCells:
    """``count`` different cells drawn uniformly from a space."""

    space: CellSpace
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.count <= self.space.num_distinct:
            raise ValueError(f"cells.count must be from 2 to the space's {self.space.num_distinct:,} cells, got {self.count}.")
        if self.seed < 0:
            raise ValueError(f"cells.seed must be at least 0, got {self.seed}.")

    def cells(self) -> tuple[CellSpec, ...]:
        rng = Random(f"cells {self.seed}")
        found: dict[str, CellSpec] = {}
        while len(found) < self.count:
            cell = self.space.sample(rng).canonical()
            found.setdefault(cell.digest, cell)
        return tuple(found.values())
