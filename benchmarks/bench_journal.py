"""The journal at the paper's scale: 28,000 cells of 6 rungs. Seconds to read it back, and what an append costs as it grows.

    python benchmarks/bench_journal.py [--trials 28000] [--folder /tmp]

The reading baseline is ``json.loads`` of every line in the same run; the last appends' baseline are the first.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import median

from paper_space import SPACE
from result_file import save

from models.cost import CellCost
from search.deciding.algorithms.uniform import Uniform
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.journal.events import SearchOpened
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.journal.telling import policy_of
from training.score import RungScore

RUNGS = (1, 2, 4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=28_000)
    parser.add_argument("--folder", type=Path, help="where the journal is written; a temporary folder by default")
    options = parser.parse_args()
    plan = Plan(SPACE, Uniform(), NoStopping(), RUNGS, options.trials, 0, lambda cell: CellCost(1, 1, 1, 1))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "journal.jsonl"
        append_s = write(path, plan)
        tenth = max(len(append_s) // 10, 1)
        first, last = median(append_s[:tenth]), median(append_s[-tenth:])
        lines = path.read_bytes().splitlines()
        print(f"{plan.trials:,} trials, {len(lines):,} lines, {path.stat().st_size / 1e6:.0f} MB")
        print(
            f"a score, fsynced: {1e3 * first:.2f} ms in the first tenth, {1e3 * last:.2f} ms in the last: {last / first:.2f}x"
        )
        started_s = time.perf_counter()
        for line in lines:
            json.loads(line)
        json_s = time.perf_counter() - started_s
        started_s = time.perf_counter()
        record = SearchRecord(read_events(path)[0])
        read_s = time.perf_counter() - started_s
        policy_of(plan, record)
        all_s = time.perf_counter() - started_s
        print(f"json.loads alone: {json_s:.2f} s; checked events and record: {read_s:.2f} s ({read_s / json_s:.1f}x)")
        print(f"ready to go on, with the algorithm's history and the rungs: {all_s:.2f} s ({all_s / json_s:.1f}x)")
    save(
        __file__,
        {
            "read, s": read_s,
            "ready, s": all_s,
            "json.loads alone, s": json_s,
            "append, ms": 1e3 * last,
            "last to first, x": last / first,
        },
    )


def write(path: Path, plan: Plan) -> list[float]:
    """A search without training; returns the seconds that each score took."""
    rng, append_s = Random(0), []
    with Journal(path) as journal:
        study = Study(journal, SearchRecord(), plan, SearchOpened("bench", {}, {}, 0.0))
        while (proposed := study.propose()) is not None:
            for rung, iteration in enumerate(RUNGS, start=1):
                started_s = time.perf_counter()
                study.reached(proposed.trial, RungScore(rung, iteration, rng.random(), 1.0, float(rung)))
                append_s.append(time.perf_counter() - started_s)
        study.close()
    return append_s


if __name__ == "__main__":
    main()
