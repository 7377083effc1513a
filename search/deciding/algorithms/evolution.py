"""Regularised evolution: tournaments among the youngest, so that no lucky cell lives for ever."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from random import Random

from models.spec import CellSpec
from search.deciding.algorithms.base import LAG
from search.deciding.outcomes import Finished, ranked
from search.deciding.space import CellSpace


@dataclass(frozen=True)
class RegularizedEvolution:
    """A mutant of the best of ``sample_size`` contestants, drawn from the youngest ``population_size`` with a score.

    Real et al. 2019, algorithm 1. Uniform samples until there are as many. A trial joins the population once its elders have
    ended, or were overtaken by many (``Finished.first_awaited``).
    """

    population_size: int = 50
    sample_size: int = 25

    def __post_init__(self) -> None:
        if self.population_size < 1:
            raise ValueError(f"algorithm.population_size must be at least 1, got {self.population_size}.")
        if not 1 <= self.sample_size <= self.population_size:
            raise ValueError(
                f"algorithm.sample_size must be from 1 to population_size ({self.population_size}), got {self.sample_size}."
            )

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        settled = bisect_left(finished.scored, finished.first_awaited(LAG * len(pending)), key=attrgetter("trial"))
        population = finished.scored[max(settled - self.population_size, 0) : settled]
        has_parents = len(population) == self.population_size and space.num_distinct > 1
        best_first = [one.cell for one in ranked(population)]
        while True:
            winner = min(rng.sample(range(len(best_first)), self.sample_size)) if has_parents else None
            yield space.sample(rng) if winner is None else space.mutate(best_first[winner], rng)
