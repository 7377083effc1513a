"""The result of a search as files and as a table: what a person reads and the next command takes."""

import csv
import io
import json
from pathlib import Path

from rich.table import Table

from data.system.files import write_text
from search.findings.search_noise import SearchNoise, search_noise
from search.journal.record import SearchRecord, TrialRecord

COLUMNS = ("rank", "digest", "miou", "expected", "params", "madds", "status", "rung", "seconds", "cell")


def write_leaderboard(record: SearchRecord, folder: Path) -> None:
    """Write ``leaderboard.csv`` and, once a trial has a score, ``best.json`` into ``folder``.

    Beside the score that was found stands the one to expect under a fresh seed, where the search has measured its noise.
    """
    ranked, noise = record.leaderboard(), search_noise(record)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for rank, trial in enumerate(ranked, start=1):
        expected = noise.of(trial) if noise else None
        miou, expected_miou = ("" if value is None else f"{value:.6f}" for value in (trial.miou, expected))
        cell = json.dumps(trial.cell.to_json())
        proposed = trial.proposed
        seconds = f"{trial.elapsed_s:.1f}"
        writer.writerow(
            [
                rank,
                trial.cell.digest,
                miou,
                expected_miou,
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
        write_text(folder / "best.json", json.dumps(_best(ranked[0], noise), indent=2) + "\n")


def leaderboard_table(record: SearchRecord, rows: int = 10) -> Table:
    """The first ``rows`` for a terminal."""
    table = Table(title="Leaderboard", title_justify="left", title_style="bold", box=None, pad_edge=False)
    noise = search_noise(record)
    expected = ["expected"] if noise else []
    for name in ("rank", "mIoU", *expected, "params", "madds", "rung", "status", "cell"):
        table.add_column(name, justify="left" if name in ("status", "cell") else "right", no_wrap=True)
    for rank, trial in enumerate(record.leaderboard()[:rows], start=1):
        table.add_row(
            str(rank),
            percent(trial.miou),
            *([percent(noise.of(trial))] if noise else []),
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


def _best(trial: TrialRecord, noise: SearchNoise | None) -> dict[str, object]:
    expected = noise.expected.get(trial.proposed.trial) if noise else None
    return {
        "trial": trial.proposed.trial,
        "digest": trial.cell.digest,
        "miou": trial.miou,
        **({"expected_miou": expected.value, "expected_95": [expected.low, expected.high]} if expected else {}),
        "rung": len(trial.rungs),
        "params": trial.proposed.params,
        "madds": trial.proposed.madds,
        "cell": trial.cell.to_json(),
    }
