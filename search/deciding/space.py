"""The recursive search space of Dense Prediction Cells: its size, samples, neighbours and members. Pure Python.

Chen et al. 2018, section 3.1: B branches, each one of the operators applied to the backbone's features or to an earlier
branch, which makes B! x (number of operators)^B encodings. Branch order does not change the network, so ``num_distinct``
counts fewer cells.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from random import Random
from typing import Protocol, runtime_checkable

from models.spec import (
    BACKBONE,
    MAX_BRANCHES,
    PUBLISHED_OPERATORS,
    AtrousConv,
    Branch,
    CellError,
    CellSpec,
    Conv1x1,
    Operator,
    PyramidPooling,
)


@runtime_checkable
class OperatorFamily(Protocol):
    """A part of the operator set: anything that can list its operators."""

    def operators(self) -> Sequence[Operator]: ...


@dataclass(frozen=True)
class PointwiseConvs:
    """The 1x1 convolution."""

    def operators(self) -> Sequence[Operator]:
        return (Conv1x1(),)


@dataclass(frozen=True)
class AtrousConvs:
    """3x3 atrous separable convolutions of every rate r_h x r_w with r in ``rates``, in feature pixels."""

    rates: Sequence[int]

    def __post_init__(self) -> None:
        check_sizes("rates", self.rates)

    def operators(self) -> Sequence[Operator]:
        return tuple(AtrousConv((rows, columns)) for rows, columns in product(self.rates, self.rates))


@dataclass(frozen=True)
class PyramidPoolings:
    """Average pyramid pooling on every grid g_h x g_w with g in ``grids``."""

    grids: Sequence[int]

    def __post_init__(self) -> None:
        check_sizes("grids", self.grids)

    def operators(self) -> Sequence[Operator]:
        return tuple(PyramidPooling((rows, columns)) for rows, columns in product(self.grids, self.grids))


def check_families(setting: str, families: Mapping[str, OperatorFamily]) -> None:
    """Refuse what lists no operators.

    Raises:
        ValueError: one of them does not, or there are none in all.
    """
    for name, family in families.items():
        if not isinstance(family, OperatorFamily):
            raise ValueError(f"{setting}.{name} must have a method operators(), got {family!r}.")
    if not any(family.operators() for family in families.values()):
        raise ValueError(f"{setting} must list at least one operator, got none.")


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Refuse what no operator can have.

    Raises:
        ValueError: there are no sizes, one is below 1, or there twice.
    """
    is_list = isinstance(sizes, Sequence) and all(type(size) is int for size in sizes)
    if not is_list or not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
        raise ValueError(f"{name} must be one or more different whole numbers of at least 1, got {sizes}.")


@dataclass(frozen=True)
class CellSpace:
    """All cells of ``num_branches`` branches over the operators of some families.

    Raises:
        ValueError: there are too few or too many branches, no operators, or one operator twice.
    """

    num_branches: int
    operators: Mapping[str, OperatorFamily]

    def __post_init__(self) -> None:
        if not 1 <= self.num_branches <= MAX_BRANCHES:
            raise ValueError(f"space.num_branches must be from 1 to {MAX_BRANCHES}, got {self.num_branches}.")
        check_families("space.operators", self.operators)
        twice = {str(operator) for operator in self.choices if self.choices.count(operator) > 1}
        if twice:
            raise ValueError(f"space.operators must list an operator once, got twice: {', '.join(sorted(twice))}.")

    def __hash__(self) -> int:
        return hash((self.num_branches, len(self.choices)))  # asked for at every proposal

    @cached_property
    def choices(self) -> tuple[Operator, ...]:
        """Every operator, family by family."""
        return tuple(operator for family in self.operators.values() for operator in family.operators())

    @cached_property
    def operator_kinds(self) -> tuple[type[Operator], ...]:
        """The kinds of operator needed to read this space's cells, and the published ones."""
        return tuple(dict.fromkeys([*map(type, self.choices), *PUBLISHED_OPERATORS]))

    @property
    def size(self) -> int:
        """The number of encodings, B! x n^B."""
        return int(math.factorial(self.num_branches) * len(self.choices) ** self.num_branches)

    @cached_property
    def num_distinct(self) -> int:
        """The number of different networks: rooted unordered trees of B nodes below the root, each with one of n labels.

        Their counts are the Euler transform of themselves shifted by one (Knuth, TAOCP 1, 2.3.4.4, with n colours).
        """
        forests, trees = [1], [0]
        for size in range(1, self.num_branches + 1):
            trees.append(len(self.choices) * forests[size - 1])
            weighted = [sum(d * trees[d] for d in range(1, k + 1) if k % d == 0) for k in range(size + 1)]
            forests.append(sum(weighted[k] * forests[size - k] for k in range(1, size + 1)) // size)
        return forests[self.num_branches]

    def sample(self, rng: Random) -> CellSpec:
        """A cell drawn uniformly from the encodings, as in the paper."""
        return CellSpec(tuple(Branch(rng.randrange(BACKBONE, i), rng.choice(self.choices)) for i in range(self.num_branches)))

    def mutate(self, cell: CellSpec, rng: Random) -> CellSpec:
        """A different cell: one branch reads something else or applies another operator, each with even chance.

        Where a space leaves only one of the two kinds of change, that one is made.

        Raises:
            ValueError: the space has a single cell.
        """
        moves = [(i, source) for i in range(len(cell)) for source in _other_inputs(cell, i)]
        if len(self.choices) == 1 and not moves:
            raise ValueError("space: it has a single cell, so there is nothing to mutate it to.")
        if moves and (len(self.choices) == 1 or rng.random() < 0.5):
            return _reattach(cell, *rng.choice(moves))
        index = rng.randrange(len(cell))
        others = [operator for operator in self.choices if operator != cell.branches[index].operator]
        return _replace(cell, index, rng.choice(others))

    def neighbours(self, cell: CellSpec) -> list[CellSpec]:
        """Every different network that one change to one branch gives, in a fixed order."""
        changed = [
            _replace(cell, i, operator)
            for i, branch in enumerate(cell.branches)
            for operator in self.choices
            if operator != branch.operator
        ]
        moved = [_reattach(cell, i, source) for i in range(len(cell)) for source in _other_inputs(cell, i)]
        found = {neighbour.digest: neighbour for neighbour in [*changed, *moved]}
        found.pop(cell.digest, None)
        return list(found.values())

    def enumerate(self) -> Iterator[CellSpec]:
        """Every different network once, under its canonical name. For small spaces: it remembers every digest."""
        seen: set[str] = set()
        inputs = product(*(range(BACKBONE, i) for i in range(self.num_branches)))
        for sources in inputs:
            for operators in product(self.choices, repeat=self.num_branches):
                cell = CellSpec(tuple(map(Branch, sources, operators)))
                if cell.digest not in seen:
                    seen.add(cell.digest)
                    yield cell.canonical()

    @cached_property
    def members(self) -> tuple[CellSpec, ...]:
        """All that ``enumerate`` gives, kept."""
        return tuple(self.enumerate())

    def __contains__(self, cell: CellSpec) -> bool:
        return len(cell) == self.num_branches and all(branch.operator in self.choices for branch in cell.branches)

    def parse(self, value: object) -> CellSpec:
        """A member of this space from JSON.

        Raises:
            CellError: it is no cell, or not one of this space; the message names what is outside.
        """
        cell = CellSpec.from_json(value, self.operator_kinds)
        self.check(cell)
        return cell

    def check(self, cell: CellSpec) -> None:
        """Raise a CellError that says why ``cell`` is outside the space, if it is."""
        if len(cell) != self.num_branches:
            raise CellError(f"cell: this space has cells of {self.num_branches} branches, got {len(cell)}.")
        for index, branch in enumerate(cell.branches):
            if branch.operator not in self.choices:
                raise CellError(
                    f"cell: branch {index} applies {branch.operator}, which is not one of the space's "
                    f"{len(self.choices)} operators ({', '.join(self.operators)})."
                )


@dataclass(frozen=True)
class AnyCell:
    """Every cell of the published operators: for commands that read a cell and sample none."""

    operator_kinds = PUBLISHED_OPERATORS

    def parse(self, value: object) -> CellSpec:
        """A cell from JSON.

        Raises:
            CellError: it is none.
        """
        return CellSpec.from_json(value)


def _other_inputs(cell: CellSpec, index: int) -> list[int]:
    """What branch ``index`` could read instead: anything but itself, its descendants and its present input."""
    below = {index}
    for i in range(index + 1, len(cell)):
        if cell.branches[i].input in below:
            below.add(i)
    return [i for i in range(BACKBONE, len(cell)) if i not in below and i != cell.branches[index].input]


def _replace(cell: CellSpec, index: int, operator: Operator) -> CellSpec:
    branches = list(cell.branches)
    branches[index] = Branch(branches[index].input, operator)
    return CellSpec(tuple(branches))


def _reattach(cell: CellSpec, index: int, source: int) -> CellSpec:
    """The cell with branch ``index`` reading ``source``, renumbered so that a branch comes after what it reads."""
    inputs = [source if i == index else branch.input for i, branch in enumerate(cell.branches)]
    place = {BACKBONE: BACKBONE}
    while len(place) <= len(inputs):
        ready = next(i for i, read in enumerate(inputs) if i not in place and read in place)
        place[ready] = len(place) - 1
    order = list(place)[1:]
    return CellSpec(tuple(Branch(place[inputs[i]], cell.branches[i].operator) for i in order))
