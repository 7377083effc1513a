"""Do early scores rank cells as late ones do, and a proxy task as full training does? Spearman's rho, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from search.deciding.outcomes import Status
from search.journal.record import SearchRecord

FEWEST = 5
"""Of fewer pairs a rank correlation says nothing."""

RESAMPLES = 1000
"""Of the bootstrap."""


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rho between two scores of the same cells, and the ends of its 95 % interval."""

    rho: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True)
class RungCorrelation(RankCorrelation):
    """Between the scores at a rung and at the last, over the trials that completed."""

    rung: int
    iteration: int


def rank_correlation(first: Sequence[float], second: Sequence[float], seed: int = 0) -> RankCorrelation | None:
    """Spearman's rho, where ties share their mean rank, with its percentile bootstrap interval (Efron and Tibshirani 1993).

    None where it is not defined or says nothing: of fewer than ``FEWEST`` pairs, or where one score is the same for all.

    Raises:
        ValueError: there are not as many scores of one kind as of the other.
    """
    if len(first) != len(second):
        raise ValueError(f"rank_correlation: each cell needs two scores, got {len(first)} and {len(second)}.")
    count = len(first)
    groups = [np.unique(scores, return_inverse=True)[1] for scores in (first, second)]
    if count < FEWEST or any(group.max() == 0 for group in groups):
        return None
    rng = np.random.default_rng(seed)
    rhos = [_rho(groups, np.bincount(rng.integers(0, count, count), minlength=count)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(rhos, (0.025, 0.975))  # a resample in which one score is the same for all has no rho
    rho = _rho(groups, np.ones(count))  # where many ranks tie, few resamples are as bad: an interval holds its estimate
    return RankCorrelation(rho, min(rho, float(low)), max(rho, float(high)), count)


def rung_correlations(record: SearchRecord) -> Sequence[RungCorrelation]:
    """One for each rung but the last; none where too few trials completed.

    Only trials that got through every rung have both scores. They were chosen by the early ones, which makes these
    correlations lower than those of all cells.
    """
    completed = [trial for trial in record.leaderboard() if trial.ended and trial.ended.status == Status.COMPLETED]
    if len(completed) < FEWEST:
        return ()
    last = [trial.rungs[-1].miou for trial in completed]
    found = []
    for index, rung in enumerate(completed[0].rungs[:-1]):
        fitted = rank_correlation([trial.rungs[index].miou for trial in completed], last)
        if fitted:
            found.append(RungCorrelation(fitted.rho, fitted.low, fitted.high, fitted.pairs, rung.rung, rung.iteration))
    return found


def _rho(groups: Sequence[npt.NDArray[np.intp]], times_N: npt.NDArray[Any]) -> float:
    """Pearson's correlation of the ranks of N cells that count ``times_N`` times each.

    Args:
        groups: for either score, the place of each cell's among the different ones, ascending: sorted once, any resample is
            ranked by counting.
    """
    first_N, second_N = (_ranks(group_N, times_N) - (times_N.sum() + 1) / 2 for group_N in groups)
    spread = sqrt((times_N * first_N**2).sum() * (times_N * second_N**2).sum())
    return float((times_N * first_N * second_N).sum()) / spread if spread else nan


def _ranks(group_N: npt.NDArray[np.intp], times_N: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """From 1; ties share their mean rank."""
    tied_G = np.bincount(group_N, weights=times_N)
    return np.asarray((np.cumsum(tied_G) - (tied_G - 1) / 2)[group_N], dtype=float)
