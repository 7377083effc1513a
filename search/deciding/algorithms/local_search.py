"""Local search: always on from the best cell whose neighbours are not used up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from models.spec import CellSpec
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace

TRIES = 10
"""Neighbours of one cell in a row: where a budget refuses most of them, those of the next best cell follow."""


@dataclass(frozen=True)
class LocalSearch:
    """An untried neighbour, one change to one branch away, of the best cell or the next best; uniform samples first.

    White et al. 2021, "Local search is state of the art for neural architecture search benchmarks", in a form that many
    workers can follow at once: it moves on as soon as a better cell is known, and when a neighbourhood is used up it goes on
    from the next best cell instead of a random one.

    Attributes:
        num_initial: trials with a score before the first step.
        breadth: how many of the best are tried for an untried neighbour before a uniform sample is taken.
    """

    num_initial: int = 20
    breadth: int = 50

    def __post_init__(self) -> None:
        if self.num_initial < 1:
            raise ValueError(f"algorithm.num_initial must be at least 1, got {self.num_initial}.")
        if self.breadth < 1:
            raise ValueError(f"algorithm.breadth must be at least 1, got {self.breadth}.")

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        if len(finished.scored) >= self.num_initial:
            known = finished.digests | {cell.digest for cell in pending}
            for evaluation in finished.best(self.breadth):
                digests, cells = _neighbours(space, evaluation.cell)
                untried = sorted(digests - known)
                rng.shuffle(untried)
                yield from (cells[digest] for digest in untried[:TRIES])
        while True:
            yield space.sample(rng)


@lru_cache(maxsize=64)
def _neighbours(space: CellSpace, cell: CellSpec) -> tuple[frozenset[str], Mapping[str, CellSpec]]:
    """Digests of a cell's neighbours, and the neighbours by digest."""
    cells = {neighbour.digest: neighbour for neighbour in space.neighbours(cell)}
    return frozenset(cells), cells
