"""The result of a search as files and as a table: what a person reads and the next command takes."""

import csv
import io
import json
from pathlib import Path

from rich.table import Table

from data.system.files import write_text
from search.journal.record import SearchRecord, TrialRecord

COLUMNS = ("rank", "digest", "miou", "params", "madds", "status", "rung", "seconds", "cell")


def write_leaderboard(record: SearchRecord, folder: Path) -> None:
    """Write ``leaderboard.csv`` and, once a trial has a score, ``best.json`` into ``folder``."""
    ranked = record.leaderboard()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for rank, trial in enumerate(ranked, start=1):
        miou = "" if trial.miou is None else f"{trial.miou:.6f}"
        cell = json.dumps(trial.cell.to_json())
        proposed = trial.proposed
        seconds = f"{trial.elapsed_s:.1f}"
        writer.writerow(
            [
                rank,
                trial.cell.digest,
                miou,
                proposed.params,
                proposed.madds,
                trial.status,
                len(trial.rungs),
                seconds,
                cell,
            ]
        )
    write_text(folder / "leaderboard.csv", text.getvalue())
    if ranked and ranked[0].miou is not None:
        write_text(folder / "best.json", json.dumps(_best(ranked[0]), indent=2) + "\n")


def leaderboard_table(record: SearchRecord, rows: int = 10) -> Table:
    """The first ``rows`` for a terminal."""
    table = Table(title="Leaderboard", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("rank", "mIoU", "params", "madds", "rung", "status", "cell"):
        table.add_column(name, justify="left" if name in ("status", "cell") else "right", no_wrap=True)
    for rank, trial in enumerate(record.leaderboard()[:rows], start=1):
        table.add_row(
            str(rank),
            percent(trial.miou),
            quantity(trial.proposed.params),
            quantity(trial.proposed.madds),
            str(len(trial.rungs)),
            trial.status,
            trial.cell.digest,
        )
    return table


def percent(miou: float | None) -> str:
    """mIoU as papers print it."""
    return "-" if miou is None else f"{100 * miou:.2f}"


def quantity(number: float) -> str:
    """A count to three digits with its unit: 356160 is 356K, 2997134400 is 3.00B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + unit
    return f"{number:g}"


def ordinal(number: int) -> str:
    """A place in a ranking: 1st, 22nd, 113th."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{suffix}"


def _best(trial: TrialRecord) -> dict[str, object]:
    return {
        "trial": trial.proposed.trial,
        "digest": trial.cell.digest,
        "miou": trial.miou,
        "rung": len(trial.rungs),
        "params": trial.proposed.params,
        "madds": trial.proposed.madds,
        "cell": trial.cell.to_json(),
    }
