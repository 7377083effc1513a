"""What a few numbers say, and how sure it is: every interval that this project prints is made here (docs/statistics.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import atanh, copysign, sqrt, tanh
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
"""Of every interval."""
FEWEST = 5
"""Of fewer pairs a rank correlation says nothing."""
FEWEST_FOR_INTERVAL = 8
"""Of fewer pairs its interval would be wrong or say nothing: there is an exact p-value instead."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval; of a single number there is none.

    Attributes:
        count: of independent numbers that it is the mean of.
    """

    value: float
    low: float | None
    high: float | None
    count: int

    def times(self, factor: float) -> "Estimate":
        """Of so many times the number."""
        if self.low is None or self.high is None:
            return Estimate(self.value * factor, None, None, self.count)
        low, high = sorted((self.low * factor, self.high * factor))
        return Estimate(self.value * factor, low, high, self.count)

    @property
    def numbers(self) -> tuple[float, float | None, float | None]:
        """The mean, and the ends of its interval."""
        return self.value, self.low, self.high

    def text(self, written: Callable[[float], str] = lambda value: f"{value:.2f}") -> str:
        """Such as 74.7 (73.9 to 75.5)."""
        if self.low is None or self.high is None:
            return written(self.value)
        return f"{written(self.value)} ({written(self.low)} to {written(self.high)})"


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rho between two scores of the same cells.

    Attributes:
        low, high: the ends of its 95 % interval; None of fewer than ``FEWEST_FOR_INTERVAL`` pairs.
        p_value: two-sided, of a rho like this where the order of one score says nothing about the other.
    """

    rho: float
    low: float | None
    high: float | None
    p_value: float
    pairs: int

    def text(self) -> str:
        """Rho, its interval or exact p-value, and of how many cells: the same words wherever it is told."""
        if self.low is None or self.high is None:
            return f"{self.rho:.2f} of {self.pairs} cells: too few for an interval, exact p = {self.p_value:.2g}"
        return f"{self.rho:.2f}, 95 % interval {self.low:.2f} to {self.high:.2f}, of {self.pairs} cells"


def mean(values: Sequence[float]) -> Estimate:
    """With Student's t interval (Student 1908), which at any count holds for numbers that are roughly normal.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("mean: at least one number is needed, got none.")
    value, count = fmean(values), len(values)
    if count < 2:
        return Estimate(value, None, None, count)
    half = t_quantile(count - 1) * stdev(values) / sqrt(count)
    return Estimate(value, value - half, value + half, count)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """How much higher ``first`` is on average, where the numbers of either belong together one by one."""
    return mean([one - other for one, other in zip(first, second, strict=True)])


def welch_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """How much higher the mean of ``first`` is, where the two have nothing in common and may spread differently (Welch 1947).

    Raises:
        ValueError: there are fewer than two of either.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"welch_difference: at least two numbers of either are needed, got {len(first)} and {len(second)}.")
    one, other = (stdev(values) ** 2 / len(values) for values in (first, second))
    value, variance = fmean(first) - fmean(second), one + other
    if not variance:
        return Estimate(value, value, value, min(len(first), len(second)))
    degrees = variance**2 / (one**2 / (len(first) - 1) + other**2 / (len(second) - 1))
    half = t_quantile(degrees) * sqrt(variance)
    return Estimate(value, value - half, value + half, min(len(first), len(second)))


def linear_effects(
    choices_NK: npt.NDArray[np.float64], values_N: npt.NDArray[np.float64], level: float = LEVEL
) -> tuple[list[Estimate], float]:
    """How much a value rises with each of K choices, the others held: least squares, and the share of variance it explains.

    The intervals hold where values spread differently, too (HC3, MacKinnon and White 1985).

    Args:
        choices_NK: no column is constant, or follows from others.

    Raises:
        ValueError: there are not more values than coefficients.
    """
    count, num_choices = choices_NK.shape
    degrees = count - num_choices - 1
    if degrees < 1:
        raise ValueError(f"linear_effects: {num_choices} choices need at least {num_choices + 2} values, got {count}.")
    design = np.column_stack([np.ones(count), choices_NK])
    solve = np.linalg.pinv(design)
    coefficients = solve @ values_N
    residuals = values_N - design @ coefficients
    leverage = np.einsum("nk,kn->n", design, solve)
    errors = np.sqrt((solve**2) @ (residuals / np.maximum(1 - leverage, 1e-6)) ** 2)
    half = t_quantile(degrees, level) * errors
    variance = values_N.var()
    explained = 1 - residuals.var() * count / degrees / (variance * count / (count - 1)) if variance else 0.0
    effects = [
        Estimate(float(value), float(value - width), float(value + width), count)
        for value, width in zip(coefficients[1:], half[1:], strict=True)
    ]
    return effects, max(float(explained), 0.0)


def t_quantile(degrees: float, level: float = LEVEL) -> float:
    """Standard errors on either side of a mean."""
    from scipy.special import stdtrit  # noqa: PLC0415  # loaded when a number is asked for

    return float(stdtrit(degrees, (1 + level) / 2))


def within_sd(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation of numbers around the mean of their group, over all groups; None where no group has two."""
    degrees = sum(len(group) - 1 for group in groups)
    if not degrees:
        return None
    return sqrt(sum((value - fmean(group)) ** 2 for group in groups for value in group) / degrees)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    """Spearman's rho, where ties share their mean rank.

    The interval is Fisher's with the standard error of Bonett and Wright (2000), sqrt((1 + rho^2 / 2) / (n - 3)). Where all
    pairs agree it would be a point: rho counts as half a swap of neighbours less than 1 then. The p-value of few pairs is
    exact, over all permutations.

    None where it is not defined or says nothing: of fewer than ``FEWEST`` pairs, or where one score is the same for all.

    Raises:
        ValueError: there are not as many scores of one kind as of the other.
    """
    if len(first) != len(second):
        raise ValueError(f"rank_correlation: each cell needs two scores, got {len(first)} and {len(second)}.")
    count = len(first)
    if count < FEWEST or min(len(set(first)), len(set(second))) < 2:
        return None
    from scipy.stats import spearmanr  # noqa: PLC0415  # half a second

    found = spearmanr(first, second)
    rho = float(found.statistic)
    if count < FEWEST_FOR_INTERVAL:
        return RankCorrelation(rho, None, None, _exact_p_value(first, second), count)
    most = 1 - 6 / (count * (count**2 - 1))
    centre = atanh(copysign(min(abs(rho), most), rho))
    half = t_quantile(np.inf) * sqrt((1 + rho**2 / 2) / (count - 3))
    low, high = min(rho, tanh(centre - half)), max(rho, tanh(centre + half))
    return RankCorrelation(rho, low, high, float(found.pvalue), count)


def _exact_p_value(first: Sequence[float], second: Sequence[float]) -> float:
    from scipy.stats import permutation_test, rankdata  # noqa: PLC0415

    one, other = (rankdata(scores) - (len(scores) + 1) / 2 for scores in (first, second))
    tested = permutation_test(
        (one,), lambda ranks, axis: (ranks * other).sum(axis=axis), permutation_type="pairings", n_resamples=np.inf
    )
    return float(tested.pvalue)


def tukeys_difference(sd: float, degrees: int, groups: int, count: int) -> float:
    """What the means of any two of some groups, of so many numbers each, must differ by to be told apart (Tukey 1949).

    It holds for all pairs together, so that it may be asked of the best one, too.

    Args:
        sd: of a number within its group, known from so many degrees of freedom.
    """
    return _range_quantile(groups, degrees) * sd / sqrt(count)


@cache
def _range_quantile(groups: int, degrees: int) -> float:
    from scipy.stats import studentized_range  # noqa: PLC0415  # and a quarter of a second for each

    return float(studentized_range.ppf(LEVEL, groups, degrees))
