"""A cell that somebody expects to be good: proposals near it, until its neighbours have shown what they are worth."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from data.system.errors import UserError
from models.spec import BACKBONE, CellError, CellSpec
from search.deciding.algorithms.base import Algorithm
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace

NEAR = 0.5
"""A cell is near another where so many branches apply the same to the same."""
FADED = 0.01
"""A share of proposals that is not worth counting."""


@dataclass(frozen=True)
class Prior:
    """What is expected of a search before it begins.

    Attributes:
        cell: that good cells are expected to resemble.
        strength: how sure that is, in cells: as though so many like it had been seen to score above all others. Of the first
            ``strength`` proposals most are near it, then ever fewer; none, once as many near it scored below all others.
    """

    cell: CellSpec
    strength: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.cell, CellSpec):
            raise ValueError(f"prior.cell must be a CellSpec, got {self.cell!r}.")
        if not 0 < self.strength < float("inf"):
            raise ValueError(f"prior.strength must be above 0, got {self.strength}.")

    @property
    def recorded(self) -> dict[str, Any]:
        """What a search that resumes must find as it was."""
        return {"cell": self.cell.digest, "strength": self.strength}

    def check(self, space: CellSpace) -> None:
        """Raise a UserError if its cell is outside ``space``."""
        try:
            space.check(self.cell)
        except CellError as error:
            raise UserError(f"prior.cell: {str(error).removeprefix('cell: ')}") from error


@dataclass(frozen=True)
class NearPrior:
    """Another algorithm's proposals, mixed with cells near a prior one: itself first, then mutants.

    After n trials that have a score or are pending, s / (n + s) of the proposals are near the prior cell, where
    s = strength * max(2p - 1, 0) and p = (strength + wins) / (strength + near). ``near`` counts the cells near the prior one
    that have a comparable score; ``wins`` adds up, over these, the share of the other cells that each scored above. So p is how
    often a near cell beats another, after ``strength`` imagined ones that beat all: it begins at 1; at 1/2 nothing is near.

    As PriorBand (Mallik et al. 2023) it samples from the prior beside an algorithm, less the better others are; as in piBO
    (Hvarfner et al. 2022) the prior counts for as much as so many observations.
    """

    algorithm: Algorithm
    prior: Prior

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        share = self.share(finished, len(pending))
        known = finished.digests | {cell.digest for cell in pending}
        for cell in self.algorithm.propose(space, finished, pending, rng):
            while rng.random() < share:
                yield self._near(space, known, rng)
            yield cell

    def share(self, finished: Finished, num_pending: int) -> float:
        """The share of proposals, 0 to 1, that are near the prior cell; 0 once ``strength`` has ``FADED`` among the trials."""
        strength, begun = self.prior.strength, len(finished.scored) + num_pending
        if strength < FADED * (strength + begun):
            return 0.0
        wins = [win for win in self._wins(finished) if win is not None]
        trust = 2 * (strength + sum(wins)) / (strength + len(wins)) - 1
        weight = strength * max(trust, 0.0)
        return weight / (weight + begun) if weight else 0.0

    def _wins(self, finished: Finished) -> Iterator[float | None]:
        """Of each cell near the prior one, the share of the others that it scored above; None where there are no others."""
        best_first = [one.cell for one in finished.best(len(finished)) if one.is_comparable]
        is_near = [likeness(cell, self.prior.cell) >= NEAR for cell in best_first]
        others = below = len(is_near) - sum(is_near)
        for near in is_near:
            if near:
                yield below / others if others else None
            else:
                below -= 1

    def _near(self, space: CellSpace, known: set[str], rng: Random) -> CellSpec:
        """The prior cell where it is new, else a mutant: of one change, and each further one at even odds."""
        cell = self.prior.cell
        if cell.digest not in known or space.num_distinct == 1:
            return cell
        changes = 1
        while changes < len(cell) and rng.random() < 0.5:
            changes += 1
        for _ in range(changes):
            cell = space.mutate(cell, rng)
        return cell


def likeness(one: CellSpec, other: CellSpec) -> float:
    """The share of branches that apply the same operator to the output of the same operator; 1 for equal cells."""
    shared = _read(one) & _read(other)
    return shared.total() / max(len(one), len(other))


def _read(cell: CellSpec) -> Counter[tuple[str, str]]:
    """How often each operator reads each."""
    operators = {BACKBONE: "", **{index: str(branch.operator) for index, branch in enumerate(cell.branches)}}
    return Counter((operators[index], operators[branch.input]) for index, branch in enumerate(cell.branches))
