"""A made-up table of scores whose best cell is known: what cells would score, without training any."""

import math
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from models.spec import BACKBONE, Branch, CellSpec, Operator
from search.deciding.budget import CostOf
from search.deciding.policy import Plan
from search.deciding.space import CellSpace
from training.score import RungScore


@dataclass(frozen=True, slots=True)
class LandscapeSettings:
    """The shape of a landscape, in mIoU from 0 to 1 and seconds on one worker.

    The defaults follow what was measured (docs/log.md, docs/results.md): how much scores vary between seeds, and how well a
    rung ranks cells as the last one does. The paper's proxy trial took about 90 minutes.

    Attributes:
        seed: draws the best cell.
        best_miou: of the best cell.
        worst_miou: of a cell that has nothing in common with it.
        reach: how fast operators lose their likeness as their rates or grids differ, in natural logarithms of the ratio.
        seed_noise: standard deviation of a cell's last score between training seeds.
        early_noise: the same for the part of early scores that training on makes good, at iteration 0.
        early_gap: mIoU that is missing at iteration 0.
        step_s: seconds an iteration, without the cell's multiply-adds.
        step_s_per_gmadd: seconds an iteration for each 1e9 multiply-adds of the cell on one image.
    """

    seed: int = 0
    best_miou: float = 0.80
    worst_miou: float = 0.60
    reach: float = 0.7
    seed_noise: float = 0.005
    early_noise: float = 0.015
    early_gap: float = 0.15
    step_s: float = 0.06
    step_s_per_gmadd: float = 0.08

    def __post_init__(self) -> None:
        if not 0 < self.best_miou < 1:
            raise ValueError(f"landscape.best_miou must be above 0 and below 1, got {self.best_miou}.")
        if not 0 < self.worst_miou < self.best_miou:
            raise ValueError(
                f"landscape.worst_miou must be above 0 and below best_miou ({self.best_miou}), got {self.worst_miou}."
            )
        if self.seed < 0:
            raise ValueError(f"landscape.seed must be at least 0, got {self.seed}.")
        for name in ("reach", "step_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"landscape.{name} must be above 0, got {getattr(self, name)}.")
        for name in ("seed_noise", "early_noise", "early_gap", "step_s_per_gmadd"):
            if getattr(self, name) < 0:
                raise ValueError(f"landscape.{name} must be at least 0, got {getattr(self, name)}.")


class Landscape:
    """Scores by likeness to a hidden best cell, which is drawn from the space.

    Each branch of a cell is matched with one of the best cell's; a match counts by how much the operators are alike, and half
    of it by how much those that they read are. So changes of a branch's rates matter a little, its place matters, and which
    branch comes first does not. No other cell is as good: no two branches that the best cell reads from have equal operators.
    """

    def __init__(self, settings: LandscapeSettings, space: CellSpace, cost_of: CostOf, rungs: tuple[int, ...]) -> None:
        self.settings, self.rungs = settings, rungs
        self._space, self._cost_of = space, cost_of

    @cached_property
    def best(self) -> CellSpec:
        """The best cell."""
        rng = Random(f"landscape {self.settings.seed}")
        count, choices = self._space.num_branches, self._space.choices
        operators = rng.sample(choices, count) if len(choices) >= count else rng.choices(choices, k=count)
        once = [i for i in range(count) if operators.count(operators[i]) == 1]  # else what reads which would not be clear
        sources = [[BACKBONE, *(source for source in once if source < i)] for i in range(count)]
        return CellSpec(tuple(map(Branch, map(rng.choice, sources), operators))).canonical()

    def quality(self, cell: CellSpec) -> float:
        """A cell's last score but for the luck of its seed."""
        operators = [self._index[branch.operator] for branch in cell.branches]
        read = [len(self._index) if branch.input == BACKBONE else operators[branch.input] for branch in cell.branches]
        matches = self._likeness[np.ix_(operators, self._own)] * (0.5 + 0.5 * self._likeness[np.ix_(read, self._own_read)])
        likeness = float(matches[linear_sum_assignment(matches, maximize=True)].sum()) / max(len(cell), len(self.best))
        return self.settings.worst_miou + (self.settings.best_miou - self.settings.worst_miou) * likeness

    def scores(self, cell: CellSpec, seed: int) -> list[RungScore]:
        """What a trial of ``cell`` would tell at its rungs."""
        settings, rng = self.settings, Random(f"scores {self.settings.seed} {seed}")
        last = self.quality(cell) + rng.gauss(0, settings.seed_noise)
        slowness = settings.early_gap + rng.gauss(0, settings.early_noise)
        step_s = settings.step_s + settings.step_s_per_gmadd * self._cost_of(cell).madds / 1e9
        scores = []
        for rung, iteration in enumerate(self.rungs, start=1):
            left = 1 - iteration / self.rungs[-1]
            miou = min(max(last - slowness * left, 0.0), 1.0)
            scores.append(RungScore(rung, iteration, miou, 1.0 + left, step_s * iteration))
        return scores

    def searched_by(self, plan: Plan) -> Plan:
        """Every cell has a score, so the plan is as it was."""
        return plan

    @cached_property
    def _index(self) -> dict[Operator, int]:
        return {operator: index for index, operator in enumerate(self._space.choices)}

    @cached_property
    def _likeness(self) -> npt.NDArray[np.float64]:
        """Of each two operators, from 0 to 1; the backbone is the last row and column."""
        count = len(self._index)
        likeness = np.eye(count + 1)
        for i, one in enumerate(self._index):
            for j, other in enumerate(self._index):
                likeness[i, j] = _likeness(one, other, self.settings.reach)
        return likeness

    @cached_property
    def _own(self) -> list[int]:
        return [self._index[branch.operator] for branch in self.best.branches]

    @cached_property
    def _own_read(self) -> list[int]:
        return [len(self._index) if branch.input == BACKBONE else self._own[branch.input] for branch in self.best.branches]


def _likeness(one: Operator, other: Operator, reach: float) -> float:
    """1 for equal operators, 0 for those of different kinds, in between where only their numbers differ."""
    (kind, numbers), (other_kind, other_numbers) = map(_kind_and_numbers, (one, other))
    if kind != other_kind:
        return 0.0
    return math.exp(-sum(abs(math.log(a / b)) for a, b in zip(numbers, other_numbers, strict=True)) / reach)


def _kind_and_numbers(operator: Operator) -> tuple[dict[str, Any], list[float]]:
    """What an operator is, with the places of its positive numbers, and those numbers: rates, grids, kernels."""
    kind: dict[str, Any] = {}
    numbers: list[float] = []
    for key, value in sorted(operator.to_json().items()):
        values = value if isinstance(value, list) else [value]
        if all(isinstance(number, int | float) and number > 0 for number in values):
            kind[key] = (isinstance(value, list), len(values))
            numbers += values
        else:
            kind[key] = value
    return kind, numbers
