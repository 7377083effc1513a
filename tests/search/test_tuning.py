"""Studies on a real Ray cluster of two nodes on this machine, with a task that only computes a number."""

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from models.cost import CellCost
from search.algorithms.uniform import Uniform
from search.evaluation import Status
from search.journal import Journal, SearchOpened, read_events
from search.record import SearchRecord
from search.resources import Resources, ResourcesError
from search.schedulers import Asha, Hyperband, MedianStopping, NoStopping
from search.space import AtrousConvs, CellSpace
from search.study import Plan, Study
from search.tuning.cluster import connect
from search.tuning.run import run_study
from training.score import DivergedError, RungScore

SPACE = CellSpace(2, {"atrous": AtrousConvs([1, 3, 6, 9])})
RUNGS = (1, 2, 4, 8)

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def true_miou(cell):
    return 0.1 + 0.8 * int(cell.digest, 16) / 2**64


@dataclass(frozen=True)
class Landscape:
    """Scores a cell without training; some first rungs go wrong, chosen by the cell's digest."""

    faults: dict[str, str]
    folder: Path
    rung_s: float = 0.0

    def __call__(self, cell, seed, checkpoint=None):
        node = ray.get_runtime_context().get_node_id()
        with (self.folder / "visits.txt").open("a") as visits:
            visits.write(f"{cell.digest} {node}\n")
        for rung, iteration in enumerate(RUNGS, start=1):
            match self.faults.get(cell.digest):
                case "diverges":
                    raise DivergedError("the loss was not finite by iteration 1")
                case "raises":
                    raise RuntimeError("this cell\ncannot be built")
                case "dies once" if not (self.folder / "died").exists():
                    (self.folder / "died").touch()
                    os._exit(1)
                case "dies always":
                    os._exit(1)
            time.sleep(self.rung_s)
            yield RungScore(rung, iteration, true_miou(cell) * iteration / RUNGS[-1], 1.0, 0.1 * rung)


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    connect(nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def search(folder, trials, scheduler, faults=None, space=SPACE, resources=Resources(), rung_s=0.0):  # noqa: B008
    plan = Plan(space, Uniform(), trials, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1))
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(journal.events), plan, SearchOpened("toy", {}, {}, 0.0))
        task = Landscape(faults or {}, folder, rung_s)
        run_study(study, task, scheduler, resources, RUNGS, folder / "checkpoints", space.operator_kinds)
    return study


@pytest.mark.parametrize(
    "scheduler", [Asha(1), Hyperband(), MedianStopping(1, 3), NoStopping()], ids=lambda s: type(s).__name__
)
def test_every_scheduler_ends_with_every_cell_evaluated_once(cluster, tmp_path, scheduler):
    study = search(tmp_path, 16, scheduler)
    record = SearchRecord(read_events(tmp_path / "journal.jsonl")[0])
    assert study.is_complete
    assert sorted(record.trials) == list(range(16))
    assert len({trial.cell.digest for trial in record.trials.values()}) == 16
    statuses = Counter(trial.status for trial in record.finished)
    assert statuses[Status.COMPLETED] >= 1
    assert statuses[Status.COMPLETED] + statuses[Status.STOPPED] == 16
    assert (statuses[Status.STOPPED] == 0) == isinstance(scheduler, NoStopping)
    for trial in record.finished:
        assert [rung.iteration for rung in trial.rungs] == list(RUNGS[: len(trial.rungs)])
        assert trial.rungs[-1].miou == pytest.approx(true_miou(trial.cell) * trial.rungs[-1].iteration / RUNGS[-1])


def test_early_stopping_keeps_the_best_cell(cluster, tmp_path):
    record = search(tmp_path, 30, Asha(1)).record
    best = max(record.finished, key=lambda trial: true_miou(trial.cell))
    assert record.leaderboard()[0].cell == best.cell


def test_trials_run_on_every_node(cluster, tmp_path):
    search(tmp_path, 9, NoStopping(), rung_s=0.5)
    nodes = {line.split()[1] for line in (tmp_path / "visits.txt").read_text().splitlines()}
    assert len(nodes) == 2


def test_faulty_cells_have_no_score_and_the_search_goes_on(cluster, tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1, 3])})
    cells = list(space.enumerate())
    faults = dict(zip((cell.digest for cell in cells), ("diverges", "raises", "dies once"), strict=False))
    record = search(tmp_path, 4, NoStopping(), faults, space).record
    ended = {trial.cell.digest: trial for trial in record.finished}
    diverged, failed, retried, sound = (ended[cell.digest] for cell in cells)
    assert (diverged.status, diverged.miou) == (Status.DIVERGED, None)
    assert (failed.status, failed.miou) == (Status.FAILED, None)
    assert failed.ended.reason == "RuntimeError: this cell cannot be built"
    assert retried.status == sound.status == Status.COMPLETED


def test_a_cell_that_keeps_killing_its_worker_is_failed_after_bounded_retries(cluster, tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1])})
    (cell,) = space.enumerate()
    record = search(tmp_path, 5, NoStopping(), {cell.digest: "dies always"}, space).record
    assert record.trials[0].status == Status.FAILED
    assert "after 2 retries" in record.trials[0].ended.reason
    assert len((tmp_path / "visits.txt").read_text().splitlines()) == 3


def test_a_search_cut_short_goes_on_without_evaluating_a_cell_twice(cluster, tmp_path):
    search(tmp_path, 8, NoStopping())
    whole = (tmp_path / "journal.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = [index for index, line in enumerate(lines) if b'"trial_ended"' in line]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[: ends[3] + 1]))
    done_before = {trial.cell.digest for trial in SearchRecord(read_events(tmp_path / "journal.jsonl")[0]).finished}
    (tmp_path / "visits.txt").unlink()
    study = search(tmp_path, 8, NoStopping())
    visited = [line.split()[0] for line in (tmp_path / "visits.txt").read_text().splitlines()]
    assert study.is_complete
    assert len(study.record.finished) == 8
    assert not done_before & set(visited)
    assert len(visited) == len(set(visited)) == 8 - len(done_before)


@pytest.mark.parametrize("resources", [Resources(cpu=64), Resources(gpu=1)], ids=["cpu", "gpu"])
def test_a_trial_that_no_node_can_hold_is_refused(cluster, tmp_path, resources):
    with pytest.raises(ResourcesError, match=r"resources\.(cpu|gpu): a trial asks for"):
        search(tmp_path, 1, NoStopping(), resources=resources)
