"""Multi-objective search: high mIoU at low cost."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from random import Random
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from models.spec import CellSpec
from search.deciding.outcomes import Evaluation, Finished, ranked
from search.deciding.space import CellSpace

Cost = Literal["madds", "params", "latency_ms"]


@dataclass(frozen=True)
class Pareto:
    """NSGA-II (Deb et al. 2002) in steady state: mIoU against a cost that is known before training.

    The parents are the best ``population_size`` evaluations by non-dominated front and, within one, by crowding distance. A
    child is a cross of two tournament winners, and mutated. Uniform samples until the population is full.

    Attributes:
        cost: what is to be low: ``madds`` or ``params``, in full (``models.cost``), or ``latency_ms`` by a table
            (``models.latency``).
        mutation: chance that a child is mutated; one that equals a parent always is.
    """

    cost: Cost = "madds"
    population_size: int = 50
    mutation: float = 0.9

    def __post_init__(self) -> None:
        if self.cost not in get_args(Cost):
            raise ValueError(f"algorithm.cost must be madds, params or latency_ms, got {self.cost!r}.")
        if self.population_size < 2:
            raise ValueError(f"algorithm.population_size must be at least 2, got {self.population_size}.")
        if not 0 <= self.mutation <= 1:
            raise ValueError(f"algorithm.mutation must be from 0 to 1, got {self.mutation}.")

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        is_full = len(finished.scored) >= self.population_size and space.num_distinct > 1
        population = self._population(finished.best(len(finished))) if is_full else []
        while True:
            yield self._child(population, space, rng) if is_full else space.sample(rng)

    def _child(self, population: Sequence[Evaluation], space: CellSpace, rng: Random) -> CellSpec:
        one, other = (population[min(rng.sample(range(len(population)), 2))].cell for _ in range(2))
        child = CellSpec(tuple(rng.choice(pair) for pair in zip(one.branches, other.branches, strict=True)))
        return space.mutate(child, rng) if child in (one, other) or rng.random() < self.mutation else child

    def _population(self, ordered: Sequence[Evaluation]) -> list[Evaluation]:
        """The survivors, best first: by front, then by crowding distance. Cells of other searches stand in no front of ours."""
        survivors: list[Evaluation] = []
        others = bisect_left(ordered, True, key=lambda one: not one.is_comparable)
        for alike in (ordered[:others], ordered[others:]):
            for front in _fronts(alike, self.cost):
                survivors += _by_crowding(front, self.cost)
                if len(survivors) >= self.population_size:
                    return survivors[: self.population_size]
        return survivors


def pareto_front(evaluations: Sequence[Evaluation], cost: Cost = "madds") -> list[Evaluation]:
    """The evaluations with a score that no other one betters in score or cost without being worse in the other, cheapest first.

    Scores compare as in ``search.deciding.ranking``. Of equals in both, the earliest trial stays.
    """
    ordered = [one for one in ranked(evaluations) if one.mious]
    return next(_fronts(ordered, cost), [])


def _fronts(ordered: Sequence[Evaluation], cost: Cost) -> Iterator[list[Evaluation]]:
    """Non-dominated sorting by cost and by place in the ranking; each front cheapest first.

    Args:
        ordered: best first.
    """
    costs = np.fromiter(map(attrgetter(cost), ordered), np.float64, len(ordered))
    left = np.lexsort((costs, _levels(ordered)))
    while len(left):
        cheapest_so_far = np.minimum.accumulate(costs[left])
        is_in_front = np.r_[True, costs[left][1:] < cheapest_so_far[:-1]]
        yield [ordered[index] for index in left[is_in_front][::-1]]
        left = left[~is_in_front]


def _by_crowding(front: Sequence[Evaluation], cost: Cost) -> list[Evaluation]:
    """A front with its two ends first, then those that have the most room around them (Deb et al. 2002, section III-B).

    Room on the axis of scores is counted in places: scores of different rungs have no distance.
    """
    costs = [float(getattr(one, cost)) for one in front]
    width, places = max(costs[-1] - costs[0], 1e-12), max(len(front) - 1, 1)
    room = {one.trial: (costs[i + 1] - costs[i - 1]) / width + 2 / places for i, one in enumerate(front[1:-1], start=1)}
    return sorted(front, key=lambda one: (-room.get(one.trial, inf), one.trial))


def _levels(ordered: Sequence[Evaluation]) -> npt.NDArray[np.int64]:
    """Places in the ranking, where neighbours with equal scores share one."""
    mious = [one.mious for one in ordered]
    num_rungs = np.fromiter(map(len, mious), np.int64, len(mious))
    last = np.fromiter((scores[-1] for scores in mious), np.float64, len(mious))
    is_equal = np.r_[False, (num_rungs[1:] == num_rungs[:-1]) & (last[1:] == last[:-1])][: len(mious)]
    return np.maximum.accumulate(np.where(is_equal, 0, np.arange(len(mious))))
