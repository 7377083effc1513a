"""The report of a search at the paper's scale: 28,000 cells of 5 rungs. Seconds, memory and the page's size.

    python benchmarks/bench_report.py [--trials 28000] [--folder /tmp]

The baseline is reading the same journal. The search is one of a made-up landscape (``search/simulation/landscape.py``).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from random import Random

from paper_space import SPACE

from models.cost import FeatureShape, cell_cost
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha
from search.journal.events import Event, SearchOpened, now_s
from search.journal.lines import BEGIN, encode
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.simulation.landscape import Landscape, LandscapeSettings

RUNGS = (1875, 3750, 7500, 15000, 30000)
FEATURES = FeatureShape(320, 49, 49)
FAILING = 0.005
"""The share of trials without a score."""
RECORDED = {"features": {"shape": [320, 49, 49]}, "proxy": {"cell": {"filters": 256}}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=28_000)
    parser.add_argument("--folder", type=Path, help="where the journal and the page are written; a temporary folder by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "bench" / "journal.jsonl"
        write(path, options.trials)
        reading = (
            "import sys; from pathlib import Path; from search.journal.lines import *; from search.journal.record import *; "
        )
        read_s, read_mb = measured("-c", reading + "SearchRecord(read_events(Path(sys.argv[1]))[0])", str(path))
        report_s, report_mb = measured("-m", "search.cli", "report", "name=bench", f"output_dir={folder}")
        page = path.with_name("report.html").stat().st_size
        print(f"{options.trials:,} trials, {path.stat().st_size / 1e6:.0f} MB of journal, a page of {page / 1e6:.1f} MB")
        print(f"journal alone: {read_s:.1f} s, {read_mb:.0f} MB")
        print(f"report: {report_s:.1f} s ({report_s / read_s:.1f}x), {report_mb:.0f} MB ({report_mb / read_mb:.1f}x)")


def measured(*arguments: str) -> tuple[float, float]:
    """Seconds and most megabytes of a Python process, start included."""
    started_s = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - started_s, usage.ru_maxrss / 1024


def write(path: Path, trials: int) -> None:
    """The journal of a search of the landscape, without waiting for the disk at each line."""
    cost_of, rng = partial(cell_cost, features=FEATURES), Random(0)
    table = Landscape(LandscapeSettings(), SPACE, cost_of, RUNGS)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        plan = Plan(SPACE, Uniform(), Asha(RUNGS[0]), RUNGS, trials, 0, cost_of)
        study = Study(_Lines(file.write), SearchRecord(), plan, SearchOpened("bench", RECORDED, {"trials": trials}, now_s()))
        while (proposed := study.propose()) is not None:
            if rng.random() < FAILING:
                study.failed(proposed.trial, Status.DIVERGED, "the loss is nan")
                continue
            for score in table.scores(proposed.cell, proposed.seed):
                if not study.reached(proposed.trial, score):
                    break
        study.close()


class _Lines:
    def __init__(self, write) -> None:
        self._write, self._end = write, BEGIN

    def append(self, *events: Event) -> None:
        for event in events:
            line, self._end = encode(event, self._end)
            self._write(line)


if __name__ == "__main__":
    main()
