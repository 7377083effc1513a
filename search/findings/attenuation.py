"""How well a way to score cells repeats itself, and what two ways would agree on without the luck of their seeds."""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from statistics import fmean

from models.spec import CellSpec
from search.findings.estimates import rank_correlation
from search.journal.record import SearchRecord


def scores_by_seed(records: Sequence[SearchRecord], cells: Sequence[CellSpec]) -> list[dict[str, float]]:
    """mIoU by the cell's digest, of each seed."""
    wanted = {cell.digest for cell in cells}
    return [
        {trial.cell.digest: trial.miou for trial in record.finished if trial.miou is not None and trial.cell.digest in wanted}
        for record in records
    ]


def repeatability(seeds: Sequence[Sequence[float]]) -> float | None:
    """Spearman's rho of the same cells under two seeds, the mean over all pairs of seeds; None of one seed."""
    found = [rank_correlation(one, other) for one, other in combinations(seeds, 2)]
    return fmean(fitted.rho for fitted in found if fitted) if any(found) else None


def attenuation(rho: float, first: float | None, second: float | None, seeds: int) -> str:
    """What luck took from a rho between means of so many seeds, in words.

    Spearman's correction (1904), with the repeatability of a mean by Spearman and Brown (1910).

    Args:
        first, second: how well either side repeats itself under another seed.
    """
    if first is None or second is None:
        return "How much of the gap to rho = 1 is seed noise is not known; seeds=2 would show it."
    told = f"Test and retest under another seed: first {first:.2f}, second {second:.2f}"
    if min(first, second) <= 0:
        return f"{told}: nothing is left to correct rho by."
    of_means = [seeds * one / (1 + (seeds - 1) * one) for one in (first, second)]
    return f"{told}; rho corrected for that {rho / sqrt(of_means[0] * of_means[1]):.2f}"
