"""Do early scores rank cells as late ones do?"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from search.evaluation import Status
from search.record import SearchRecord

FEWEST = 5
"""Of fewer pairs a rank correlation says nothing."""


@dataclass(frozen=True, slots=True)
class RungCorrelation:
    """Spearman's rho between the scores at a rung and at the last, over the trials that completed."""

    rung: int
    iteration: int
    rho: float
    trials: int


def rung_correlations(record: SearchRecord) -> Sequence[RungCorrelation]:
    """One for each rung but the last; none where too few trials completed.

    Only trials that got through every rung have both scores. They were chosen by the early ones, which makes these
    correlations lower than those of all cells.
    """
    completed = [trial for trial in record.leaderboard() if trial.ended and trial.ended.status == Status.COMPLETED]
    if len(completed) < FEWEST:
        return ()
    last = [trial.rungs[-1].miou for trial in completed]
    return [
        RungCorrelation(
            rung + 1,
            completed[0].rungs[rung].iteration,
            float(spearmanr([trial.rungs[rung].miou for trial in completed], last).statistic),
            len(completed),
        )
        for rung in range(len(completed[0].rungs) - 1)
    ]
