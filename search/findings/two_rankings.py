"""The best cells of a search, ranked again by a longer training: what both rankings say."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from models.spec import CellSpec
from search.findings.estimates import RankCorrelation, rank_correlation
from search.journal.record import SearchRecord, TrialRecord

COLUMNS = ("rank", "digest", "miou", "sd", "seeds", "proxy_rank", "proxy_miou", "params", "madds", "cell")


@dataclass(frozen=True, slots=True)
class Reranked:
    """A cell and its two scores.

    Attributes:
        proxy_rank: in the search, from 1.
        mious: of the longer training, one for each seed whose trial completed; 0 to 1.
    """

    cell: CellSpec
    proxy_rank: int
    proxy_miou: float
    params: int
    madds: int
    mious: tuple[float, ...]

    @property
    def miou(self) -> float | None:
        """Mean over the seeds; None where no trial completed."""
        return fmean(self.mious) if self.mious else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds; None of fewer than two."""
        return stdev(self.mious) if len(self.mious) > 1 else None


def best_cells(search: SearchRecord, top: int) -> Sequence[tuple[int, TrialRecord]]:
    """Rank and trial of the ``top`` best of a search that have a score, by its leaderboard."""
    scored = [trial for trial in search.leaderboard() if trial.miou is not None]
    return list(enumerate(scored[:top], start=1))


def reranked(chosen: Sequence[tuple[int, TrialRecord]], seeds: Sequence[SearchRecord]) -> list[Reranked]:
    """The chosen cells by their mean mIoU over the longer trainings of some seeds, best first; those without one come last."""
    rows = []
    for rank, trial in chosen:
        digest = trial.cell.digest
        mious = [
            again.miou
            for record in seeds
            for again in record.finished
            if again.cell.digest == digest and again.status == "completed" and again.miou is not None
        ]
        assert trial.miou is not None
        rows.append(Reranked(trial.cell, rank, trial.miou, trial.proposed.params, trial.proposed.madds, tuple(mious)))
    return sorted(rows, key=lambda row: (row.miou is None, -(row.miou or 0.0), row.proxy_rank))


def proxy_correlation(rows: Sequence[Reranked]) -> RankCorrelation | None:
    """Between proxy scores and those of the longer training."""
    pairs = [(row.proxy_miou, row.miou) for row in rows if row.miou is not None]
    return rank_correlation([proxy for proxy, _ in pairs], [final for _, final in pairs])


def as_csv(rows: Sequence[Reranked]) -> str:
    """The table of both rankings."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for rank, row in enumerate(rows, start=1):
        miou, sd = ("" if value is None else f"{value:.6f}" for value in (row.miou, row.sd))
        costs = (row.params, row.madds, json.dumps(row.cell.to_json()))
        writer.writerow([rank, row.cell.digest, miou, sd, len(row.mious), row.proxy_rank, f"{row.proxy_miou:.6f}", *costs])
    return text.getvalue()
