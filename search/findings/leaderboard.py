"""The result of a search as rows and as files: what a person reads and the next command takes."""

import json
from pathlib import Path
from typing import Any

from data.system.files import write_csv, write_text
from search.findings.search_noise import SearchNoise, search_noise
from search.journal.record import SearchRecord, TrialRecord

COLUMNS = ("rank", "digest", "miou", "expected", "params", "madds", "status", "rung", "seconds", "cell")


def leaderboard(record: SearchRecord) -> list[dict[str, Any]]:
    """Every finished cell, best first, those without a score last: a row for each, as ``pandas.DataFrame`` takes them.

    ``rank`` from 1, ``digest``, ``miou`` at its last rung (None without a score), ``expected`` mIoU under a fresh seed (None
    where the search has not measured its noise), ``params``, ``madds``, ``status``, ``rung`` that it reached, ``seconds`` of
    training and validation, ``cell``; ``latency_ms`` where the search has a table of them.
    """
    return _rows(record, search_noise(record))


def _rows(record: SearchRecord, noise: SearchNoise | None) -> list[dict[str, Any]]:
    timed = is_timed(record)
    return [
        {
            "rank": rank,
            "digest": trial.cell.digest,
            "miou": trial.miou,
            "expected": noise.of(trial) if noise else None,
            "params": trial.params,
            "madds": trial.madds,
            "status": str(trial.status),
            "rung": len(trial.rungs),
            "seconds": trial.elapsed_s,
            "cell": trial.cell,
            **({"latency_ms": trial.latency_ms} if timed else {}),
        }
        for rank, trial in enumerate(record.ranked(), start=1)
    ]


def is_timed(record: SearchRecord) -> bool:
    """Whether the search looks up how long its cells take."""
    return any(trial.latency_ms is not None for trial in record.finished)


def write_leaderboard(record: SearchRecord, folder: Path) -> None:
    """Write ``leaderboard.csv`` and, once a trial has a score, ``best.json`` into ``folder``.

    Beside the score that was found stands the one to expect under a fresh seed, where the search has measured its noise.
    """
    noise, columns = search_noise(record), [*COLUMNS, *(["latency_ms"] if is_timed(record) else [])]
    rows = (
        row | {"seconds": round(row["seconds"], 1), "cell": json.dumps(row["cell"].to_json())} for row in _rows(record, noise)
    )
    write_csv(folder / "leaderboard.csv", columns, ([row[name] for name in columns] for row in rows))
    best = record.best
    if best is not None:
        write_text(folder / "best.json", json.dumps(_best(best, noise), indent=2) + "\n")


def _best(trial: TrialRecord, noise: SearchNoise | None) -> dict[str, object]:
    expected = noise.expected.get(trial.number) if noise else None
    return {
        "trial": trial.number,
        "digest": trial.cell.digest,
        "miou": trial.miou,
        **({"expected_miou": expected.value, "expected_95": [expected.low, expected.high]} if expected else {}),
        "rung": len(trial.rungs),
        "params": trial.params,
        "madds": trial.madds,
        "cell": trial.cell.to_json(),
    }
