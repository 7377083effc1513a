"""Multi-objective search: high mIoU at low cost."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from random import Random
from typing import Literal

from models.spec import CellSpec
from search.deciding.outcomes import Evaluation, Finished
from search.deciding.space import CellSpace

Cost = Literal["madds", "params"]


@dataclass(frozen=True)
class Pareto:
    """NSGA-II (Deb et al. 2002) in steady state: mIoU against a cost that is known exactly before training.

    The parents are the best ``population_size`` evaluations by non-dominated front and, within one, by crowding distance. A
    child is a cross of two tournament winners, and mutated. Uniform samples until the population is full.

    Attributes:
        cost: what is to be low: ``madds`` or ``params``, in full (``models.cost``).
        mutation: chance that a child is mutated; one that equals a parent always is.
    """

    cost: Cost = "madds"
    population_size: int = 50
    mutation: float = 0.9

    def __post_init__(self) -> None:
        if self.cost not in ("madds", "params"):
            raise ValueError(f"algorithm.cost must be madds or params, got {self.cost!r}.")
        if self.population_size < 2:
            raise ValueError(f"algorithm.population_size must be at least 2, got {self.population_size}.")
        if not 0 <= self.mutation <= 1:
            raise ValueError(f"algorithm.mutation must be from 0 to 1, got {self.mutation}.")

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> CellSpec:
        if len(finished.scored) < self.population_size or space.num_distinct == 1:
            return space.sample(rng)
        population = self._population(finished.scored)
        one, other = (population[min(rng.sample(range(len(population)), 2))].cell for _ in range(2))
        child = CellSpec(tuple(rng.choice(pair) for pair in zip(one.branches, other.branches, strict=True)))
        if child in (one, other) or rng.random() < self.mutation:
            child = space.mutate(child, rng)
        return child

    def _population(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """The survivors, best first: by front, then by crowding distance."""
        survivors: list[Evaluation] = []
        for front in _fronts(evaluations, self.cost):
            survivors += _by_crowding(front, self.cost)
            if len(survivors) >= self.population_size:
                break
        return survivors[: self.population_size]


def pareto_front(evaluations: Sequence[Evaluation], cost: Cost = "madds") -> list[Evaluation]:
    """The evaluations with a score that no other one betters in score or cost without being worse in the other, cheapest first.

    Scores compare by rung, then mIoU. Of equals in both, the earliest trial stays.
    """
    scored = [evaluation for evaluation in evaluations if evaluation.miou is not None]
    return _fronts(scored, cost)[0] if scored else []


def _fronts(evaluations: Sequence[Evaluation], cost: Cost) -> list[list[Evaluation]]:
    """Non-dominated sorting by two objectives, in n log n (Jensen 2003); each front is in order of cost and of score.

    Cheapest first, an evaluation belongs to the first front whose best score so far is below its own.
    """
    cost_of = attrgetter(cost)
    fronts: list[list[Evaluation]] = []
    lacks: list[tuple[float, float]] = []  # of each front's best score so far, ascending
    for evaluation in sorted(evaluations, key=lambda one: (cost_of(one), _lack(one), one.trial)):
        lack = _lack(evaluation)
        place = bisect_right(lacks, lack)
        if place == len(fronts):
            fronts.append([])
            lacks.append(lack)
        fronts[place].append(evaluation)
        lacks[place] = lack
    return fronts


def _by_crowding(front: Sequence[Evaluation], cost: Cost) -> list[Evaluation]:
    """A front with its two ends first, then those that have the most room around them (Deb et al. 2002, section III-B)."""
    costs, scores = [float(getattr(one, cost)) for one in front], [_score(one) for one in front]
    widths = [max(values[-1] - values[0], 1e-12) for values in (costs, scores)]
    room = {
        one.trial: (costs[i + 1] - costs[i - 1]) / widths[0] + (scores[i + 1] - scores[i - 1]) / widths[1]
        for i, one in enumerate(front[1:-1], start=1)
    }
    return sorted(front, key=lambda one: (-room.get(one.trial, inf), one.trial))


def _lack(evaluation: Evaluation) -> tuple[float, float]:
    """The lower the better, by rung, then mIoU, exactly: mIoU 0 at a rung still beats mIoU 1 at the one before."""
    assert evaluation.miou is not None
    return -evaluation.rung, -evaluation.miou


def _score(evaluation: Evaluation) -> float:
    """A place on one axis, for distances: the rung and the mIoU, which is at most 1."""
    assert evaluation.miou is not None
    return evaluation.rung + evaluation.miou
