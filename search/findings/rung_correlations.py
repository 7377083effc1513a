"""Do early scores rank cells as late ones do?"""

from collections.abc import Sequence
from dataclasses import dataclass

from search.findings.estimates import FEWEST, RankCorrelation, rank_correlation
from search.journal.record import SearchRecord


@dataclass(frozen=True, slots=True)
class RungCorrelation(RankCorrelation):
    """Between the scores at a rung and at the last, over the trials that completed."""

    rung: int
    iteration: int


def rung_correlations(record: SearchRecord) -> Sequence[RungCorrelation]:
    """One for each rung but the last; none where too few trials completed.

    Only trials that got through every rung have both scores. They were chosen by the early ones, which makes these
    correlations lower than those of all cells.
    """
    completed = record.completed()
    if len(completed) < FEWEST:
        return ()
    last = [trial.rungs[-1].miou for trial in completed]
    found = []
    for index, rung in enumerate(completed[0].rungs[:-1]):
        fitted = rank_correlation([trial.rungs[index].miou for trial in completed], last)
        if fitted:
            values = fitted.rho, fitted.low, fitted.high, fitted.p_value, fitted.pairs
            found.append(RungCorrelation(*values, rung.rung, rung.iteration))
    return found
