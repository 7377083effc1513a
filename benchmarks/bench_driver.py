"""The driver's cost a cell as a search grows: trials that take no time, through Ray Tune, with a journal on disk.

    python benchmarks/bench_driver.py [--trials 10000] [--algorithm near_best] [--scheduler asha]

Prints cells a second around each mark, their ratio to the first mark's, and the driver's CPU time a cell and memory. One GPU
ends four trials of CamVid a second: the driver must stay well below the 250 ms that these take.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import ray
from ray import cloudpickle
from result_file import save

from models.cost import FeatureShape
from search.config import load
from search.deciding.outcomes import Status
from search.journal.events import SearchOpened, TrialEnded
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cluster import connect
from search.running.resources import Resources
from search.running.run import run_study
from search.settings.groups import Deciding
from training.score import RungScore

RUNGS = (1, 2, 4, 8, 16)
MARKS = (1_000, 5_000, 10_000)

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def no_training(cell, seed, checkpoint=None):
    """Scores that cost nothing: worse cells are stopped at the first rungs, as in a real search."""
    rng = Random(seed)
    quality = rng.random()
    for rung, iteration in enumerate(RUNGS, start=1):
        yield RungScore(rung, iteration, 0.8 * quality + 0.2 * rng.random(), 1.0, float(rung))


class Marks:
    """Seconds a cell over the tenth before each mark, and memory there."""

    def __init__(self, trials: int) -> None:
        self._marks = [mark for mark in MARKS if mark <= trials]
        self._ended, self._started_s, self._started_cpu_s = 0, 0.0, 0.0
        self._first_rate: float | None = None
        print(f"{'cells':>8}{'cells/s':>10}{'ratio':>8}{'driver ms':>11}{'driver MB':>11}")

    def __call__(self, event: object) -> None:
        if not isinstance(event, TrialEnded):
            return
        assert event.status in (Status.COMPLETED, Status.STOPPED), event
        self._ended += 1
        if not self._marks:
            return
        window = self._marks[0] // 10 if self._marks[0] > MARKS[0] else self._marks[0] // 2
        if self._ended == self._marks[0] - window:
            self._started_s, self._started_cpu_s = time.monotonic(), time.process_time()
        if self._ended == self._marks[0]:
            rate = window / (time.monotonic() - self._started_s)
            self._first_rate = self._first_rate or rate
            cpu_ms = (time.process_time() - self._started_cpu_s) / window * 1000
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(f"{self._ended:>8,}{rate:>10.1f}{self._first_rate / rate:>8.2f}{cpu_ms:>11.1f}{memory:>11.0f}", flush=True)
            self._marks.pop(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--algorithm", default="near_best")
    parser.add_argument("--scheduler", default="asha")
    options = parser.parse_args()
    chosen = [f"algorithm={options.algorithm}", f"scheduler={options.scheduler}", "proxy.rungs=[1,2,4,8,16]"]
    plan = load("search", [*chosen, f"trials={options.trials}"]).read(Deciding).plan(FeatureShape(320, 49, 49))
    connect("local")
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(), plan, SearchOpened("bench", {}, {}, 0.0), on_event=Marks(options.trials))
        checkpoints = Path(folder) / "checkpoints"
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        run_study(
            study,
            no_training,
            resources=Resources(),
            tolerance=FaultTolerance(),
            checkpoints=checkpoints,
            operators=plan.space.operator_kinds,
        )
        elapsed_s, cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    ended = study.record.num_ended
    rate, cpu_ms = ended / elapsed_s, cpu_s / ended * 1000
    print(f"{ended:,} cells in {elapsed_s:.0f} s: {rate:.1f} a second, {cpu_ms:.1f} ms of the driver's CPU a cell")
    save(__file__, {"cells, /s": rate, "driver's CPU, ms a cell": cpu_ms})
    ray.shutdown()


if __name__ == "__main__":
    main()
