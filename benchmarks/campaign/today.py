"""The campaign's cells as the H100's table scored them: a search that `dpc rerank from=today-s0` trains end to end.

python benchmarks/campaign/today.py OUTPUTS writes OUTPUTS/today-s0/journal.jsonl and today-s1, one for each of two seeds.
"""

import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from models.spec import CellSpec
from search.journal.events import CellProposed, RungReached, SearchClosed, SearchOpened, TrialEnded
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord, TrialRecord

HERE = Path(__file__).parent
TABLES = HERE.parent / "tables"
SEEDS = ((1, 2), (11, 12))
"""Of the study, and of what a search found: not those that it was found by."""


def main() -> None:
    """Write both journals, where they are missing."""
    (outputs,) = sys.argv[1:]
    cells = [CellSpec.from_json(entry) for entry in json.loads((HERE / "cells.json").read_text())]
    trials: dict[str, dict[int, TrialRecord]] = defaultdict(dict)
    for branches in (5, 2):
        events, _ = read_events(TABLES / f"camvid-h100-f256-400-{branches}.jsonl.gz")
        for trial in SearchRecord(events).finished:
            trials[trial.cell.digest][trial.proposed.seed] = trial
    for number in range(2):
        name = f"today-s{number}"
        path = Path(outputs) / name / "journal.jsonl"
        if path.exists():
            continue
        with Journal(path) as journal:
            journal.append(SearchOpened(name, {"features": {"shape": [320, 24, 31]}}, {"protocol": "f256-400"}, 0.0))
            for index, cell in enumerate(cells):
                seeded = next(seeds for seeds in SEEDS if seeds[number] in trials[cell.digest])
                journal.append(*_renumbered(trials[cell.digest][seeded[number]], index))
            journal.append(SearchClosed(f"{len(cells)} trials", 0.0))


def _renumbered(trial: TrialRecord, number: int) -> list[CellProposed | RungReached | TrialEnded]:
    assert trial.ended is not None
    rungs = [replace(rung, trial=number) for rung in trial.rungs]
    return [replace(trial.proposed, trial=number), *rungs, replace(trial.ended, trial=number)]


if __name__ == "__main__":
    main()
