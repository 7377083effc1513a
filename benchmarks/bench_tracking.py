"""How fast a search gets into MLflow, and how long the dashboard's sorted table then takes.

    python benchmarks/bench_tracking.py [--trials 2000] [--uri sqlite:////tmp/x.db] [--uri http://127.0.0.1:5000]

Writes a made-up search of five branches and five rungs as ``dpc track`` does: a run a cell with 12 parameters, 7 tags and a
metric history. The baseline is MLflow's client alone: the same number of runs with a single metric each.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from random import Random

from bench_journal import RUNGS
from mlflow import MlflowClient
from paper_space import SPACE
from result_file import save

from models.cost import CellCost
from search.deciding.algorithms.uniform import Uniform
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.journal.events import SearchOpened
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.tracking.follower import track
from search.tracking.settings import Tracking
from training.score import RungScore

BASELINE_RUNS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--uri", action="append", help="a tracker; a SQLite file of its own by default")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        write(journal, options.trials)
        print(f"{options.trials:,} trials of {len(RUNGS)} rungs")
        print(f"{'tracker':<40}{'bare runs/s':>12}{'cells/s':>9}{'ratio':>7}{'again, s':>10}{'sorted, s':>11}")
        for uri in options.uri or [f"sqlite:///{folder}/mlflow.db"]:
            tracking = Tracking(uri, f"bench {time.time():.0f}")
            bare_s = timed(lambda uri=uri: bare(uri)) / BASELINE_RUNS
            sync_s = timed(lambda tracking=tracking: track(journal, tracking))
            again_s = timed(lambda tracking=tracking: track(journal, tracking))
            sorted_s = timed(lambda tracking=tracking: best_first(tracking))
            name = uri.partition("://")[0] if "@" in uri or "sqlite" in uri else uri
            rate = options.trials / sync_s
            print(
                f"{name:<40}{1 / bare_s:>12.1f}{rate:>9.1f}{rate * bare_s:>7.2f}{again_s:>10.1f}{sorted_s:>11.2f}", flush=True
            )
            figures |= {
                f"{name} cells, /s": rate,
                f"{name} sorted, s": sorted_s,
                f"{name} cells to bare runs, x": rate * bare_s,
            }
    save(__file__, figures)


def write(path: Path, trials: int) -> None:
    """A search without training."""
    plan = Plan(SPACE, Uniform(), NoStopping(), RUNGS, trials, 0, lambda cell: CellCost(1, 1, 1, 1))
    rng = Random(0)
    with Journal(path) as journal:
        study = Study(journal, SearchRecord(), plan, SearchOpened("bench", {}, {}, 0.0))
        while (proposed := study.propose()) is not None:
            for rung, iteration in enumerate(RUNGS, start=1):
                study.reached(proposed.trial, RungScore(rung, iteration, rng.random(), 1.0, float(rung)))
        study.close()


def bare(uri: str) -> None:
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    client = MlflowClient(uri)
    experiment = client.create_experiment(f"bare {time.time():.3f}")
    for index in range(BASELINE_RUNS):
        run = client.create_run(experiment).info.run_id
        client.log_metric(run, "miou", index)
        client.set_terminated(run)


def best_first(tracking: Tracking) -> None:
    """What the dashboard asks for when a person sorts the cells."""
    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    found = client.search_runs([experiment], "tags.stage = 'proxy'", max_results=100, order_by=["metrics.rank ASC"])
    mious = [run.data.metrics["final_miou_percent"] for run in found]
    assert mious == sorted(mious, reverse=True)


def timed(run) -> float:
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
