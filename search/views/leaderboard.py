"""A search's leaderboard as a terminal shows it."""

from rich.table import Table

from search.findings.leaderboard import is_timed
from search.findings.search_noise import search_noise
from search.journal.record import SearchRecord
from search.views.console import table_of
from search.wording import percent, quantity


def leaderboard_table(record: SearchRecord, rows: int = 10) -> Table:
    """The first ``rows``."""
    noise, timed = search_noise(record), is_timed(record)
    header = (
        "rank",
        "mIoU",
        *(["expected"] if noise else []),
        "params",
        "madds",
        *(["ms"] if timed else []),
        "rung",
        "status",
        "cell",
    )
    shown = (
        (
            str(rank),
            percent(trial.miou),
            *([percent(noise.of(trial))] if noise else []),
            quantity(trial.params),
            quantity(trial.madds),
            *([f"{trial.latency_ms or 0:.3g}"] if timed else []),
            str(len(trial.rungs)),
            trial.status,
            trial.cell.digest,
        )
        for rank, trial in enumerate(record.ranked()[:rows], start=1)
    )
    return table_of(header, shown, left=("status", "cell"), title="Leaderboard")
