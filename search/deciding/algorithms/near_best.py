"""The paper's search: uniform samples, and samples near the best cells seen so far."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from models.spec import CellSpec
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace


@dataclass(frozen=True)
class NearBest:
    """With probability ``near_best`` a mutant of one of the ``elite`` best evaluations, else a uniform sample.

    Chen et al. 2018, section 3.2: Vizier's random search "samples uniformly at random, and samples near the best seen so
    far". The paper gives neither the share nor the distance, so both are settings here.

    Attributes:
        near_best: share of proposals near the best, 0 to 1.
        elite: how many of the best are mutated, each with equal chance.
        max_changes: a mutant differs by 1 to this many changes, fewer ones more often (each further one at even odds).
    """

    near_best: float = 0.8
    elite: int = 5
    max_changes: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.near_best <= 1:
            raise ValueError(f"algorithm.near_best must be from 0 to 1, got {self.near_best}.")
        if self.elite < 1:
            raise ValueError(f"algorithm.elite must be at least 1, got {self.elite}.")
        if self.max_changes < 1:
            raise ValueError(f"algorithm.max_changes must be at least 1, got {self.max_changes}.")

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        best = finished.best(self.elite)
        while True:
            if not best or space.num_distinct == 1 or rng.random() >= self.near_best:
                yield space.sample(rng)
                continue
            cell = rng.choice(best).cell
            for change in range(self.max_changes):
                if change > 0 and rng.random() < 0.5:
                    break
                cell = space.mutate(cell, rng)
            yield cell
