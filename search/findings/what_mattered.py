"""What explains the scores of a search: which choices set its best cells apart, and what each of them is worth."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.spec import CellSpec
from search.findings.choices import Choice, choices
from search.findings.control import fair_rung
from search.findings.estimates import LEVEL, Estimate, linear_effects, mean
from search.journal.record import SearchRecord
from search.wording import percent

if TYPE_CHECKING:  # for the name of a type alone
    from optuna.trial import FrozenTrial

FEWEST = 30
"""Cells with a score, of which a tenth are the best."""
MOST = 1000
"""Of more cells, so many are compared, evenly from the leaderboard."""
SHUFFLES = 20
"""Orders by chance that an importance is compared with."""
QUARTERS = 4
NAMED = 3

Values = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Level:
    """Cells that chose alike: their scores, and whether the best cell is among them."""

    choice: str
    miou: Estimate
    has_best: bool


@dataclass(frozen=True, slots=True)
class Mattered:
    """One choice.

    Attributes:
        importance: by how much the best tenth of the cells chose otherwise than all cells (PED-ANOVA, Watanabe et al. 2023), as
            a share of the sum over all choices.
        is_chance: whether a tenth that was drawn by chance may well do as much.
        effect: mIoU by which a cell scores more for each ``step``, the other choices held.
        in_best: mIoU that the best cell has from it, against the mean of all cells.
        levels: mean scores by what was chosen; numbers that are not whole are in four groups of equal size.
    """

    name: str
    step: str
    importance: float
    is_chance: bool
    effect: Estimate
    in_best: Estimate
    levels: Sequence[Level]


@dataclass(frozen=True, slots=True)
class WhatMattered:
    """All choices of a search's cells, the most important first.

    Attributes:
        cells: that importances compare.
        rung: whose scores effects are about, and ``scored`` cells that have one there.
        explained: share of the variance of these that all effects together explain.
    """

    choices: Sequence[Mattered]
    cells: int
    rung: int
    scored: int
    explained: float

    @property
    def beyond_chance(self) -> list[Mattered]:
        """Choices that set the best tenth apart."""
        return [one for one in self.choices if not one.is_chance]

    def text(self) -> str:
        """In a sentence or two, which take cells for independent."""
        told = [f"{one.name} ({one.step}: {one.effect.text(percent)} points)" for one in self.beyond_chance]
        if not told:
            return f"No choice sets the best tenth of {self.cells:,} cells apart by more than chance."
        more = f", and {len(told) - NAMED} more" if len(told) > NAMED else ""
        most = max(self.choices, key=lambda one: abs(one.in_best.value))
        return (
            f"The best tenth of {self.cells:,} cells stand out by {'; '.join(told[:NAMED])}{more}. All choices explain "
            f"{100 * self.explained:.0f} % of the differences at rung {self.rung}; of the best cell's distance from the "
            f"mean, {most.in_best.text(percent)} points are from {most.name}."
        )


def what_mattered(record: SearchRecord) -> WhatMattered | None:
    """Importance and effect of every choice; None of fewer than ``FEWEST`` cells with a score, or hardly more than choices.

    Importances look at the leaderboard, and so at stopped cells, too. Effects are those of a linear model of all choices
    together, at the rung that no scheduler has selected; their intervals hold for all choices together (Bonferroni). Both take
    cells for independent. Those of a search that learns are not: it tries again what did well.
    """
    last = {trial.cell.digest: trial for trial in record.finished if trial.miou is not None}
    ranked = [trial for trial in record.ranked() if trial is last.get(trial.cell.digest)]
    if len(ranked) < FEWEST:
        return None
    cells, every = [trial.cell for trial in ranked], ceil(len(ranked) / MOST)
    asked = _independent(list(choices(cells)), cells)
    if not asked:
        return None
    groups = {choice.name: _groups(choice, values) for choice, values in asked}
    importances = _importances({name: of_all[::every] for name, of_all in groups.items()})
    rung = fair_rung(ranked)
    reached = [place for place, trial in enumerate(ranked) if len(trial.rungs) >= rung]
    if len(reached) < len(asked) + 2:
        return None
    mious_N = np.array([ranked[place].rungs[rung - 1].miou for place in reached])
    values_NK = np.stack([values[reached] for _, values in asked], axis=1)
    effects, explained = linear_effects(values_NK, mious_N, 1 - (1 - LEVEL) / len(asked))
    found = [
        Mattered(
            choice.name,
            choice.step,
            *importances[choice.name],
            effect,
            effect.times(values[0] - values[reached].mean()),
            _levels(choice, values[reached], groups[choice.name][reached], mious_N, groups[choice.name][0]),
        )
        for (choice, values), effect in zip(asked, effects, strict=True)
    ]
    found.sort(key=lambda one: -one.importance)
    return WhatMattered(found, len(cells[::every]), rung, len(reached), explained)


def _independent(asked: Sequence[Choice], cells: Sequence[CellSpec]) -> list[tuple[Choice, Values]]:
    """Choices with their numbers, cell by cell; one that is the same for all, or follows from those before it, is left out.

    A cell that a choice is not about has the mean of the others.
    """
    kept: list[tuple[Choice, Values]] = []
    design = [np.ones(len(cells))]
    for choice in asked:
        found = [choice.of(cell) for cell in cells]
        numbers = [value for value in found if value is not None]
        usual = fmean(numbers) if numbers else 0.0
        values = np.array([usual if value is None else value for value in found])
        if np.linalg.matrix_rank(np.stack([*design, values], axis=1)) > len(design):
            kept.append((choice, values))
            design.append(values)
    return kept


def _groups(choice: Choice, values: Values) -> Groups:
    """The cells that chose alike have one number: all of a count, or a quarter of the others in ascending order.

    Where more than three quarters have the least value, they are one group, and all others the second.
    """
    edges = np.unique(values if choice.is_count else np.quantile(values, np.linspace(0, 1, QUARTERS + 1)[:-1]))
    if len(edges) == 1:
        edges = np.append(edges, values[values > edges[0]].min())
    return np.searchsorted(edges, values, side="right")


def _levels(choice: Choice, values: Values, groups: Groups, mious: Values, of_best: int) -> list[Level]:
    return [
        Level(choice.written(values[groups == one].mean()), mean(mious[groups == one].tolist()), bool(one == of_best))
        for one in np.unique(groups)
    ]


def _importances(groups: Mapping[str, Groups]) -> dict[str, tuple[float, bool]]:
    """Each choice's share of all importance, and whether it is chance; groups stand best cell first. Optuna is loaded here.

    It is more than chance above all that orders by chance give any choice, each in multiples of its own mean by chance: of
    seven choices and twenty orders that errs in 7 of 147 searches. One that is the same for all these cells has none.
    """
    import optuna  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(_as_trials(groups))
    rng, order, by_chance = Random(0), list(range(len(study.trials))), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental, and that less is better of a target
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = evaluator.evaluate(study)
        for _ in range(SHUFFLES):
            rng.shuffle(order)
            by_chance.append(evaluator.evaluate(study, target=lambda trial: float(order[trial.number])))
    usual = {name: fmean(one[name] for one in by_chance) for name in found}
    varied = [name for name in found if usual[name] > 0]
    most = max((one[name] / usual[name] for one in by_chance for name in varied), default=0.0)
    total = sum(found.values()) or 1.0
    return {name: (found[name] / total, name not in varied or found[name] / usual[name] <= most) for name in found}


def _as_trials(groups: Mapping[str, Groups]) -> "list[FrozenTrial]":
    from optuna.distributions import CategoricalDistribution  # noqa: PLC0415
    from optuna.trial import create_trial  # noqa: PLC0415

    kinds = {name: CategoricalDistribution(np.unique(group).tolist()) for name, group in groups.items()}
    chosen = zip(*(group.tolist() for group in groups.values()), strict=True)
    return [
        create_trial(params=dict(zip(groups, numbers, strict=True)), distributions=dict(kinds), value=float(place))
        for place, numbers in enumerate(chosen)
    ]
