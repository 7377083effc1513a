"""Studies on a real Ray cluster of two nodes on this machine, with a task that only computes a number."""

import ctypes
import os
import re
import resource
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from types import SimpleNamespace

import pytest
import ray
from ray import cloudpickle
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2

from models.cost import CellCost
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha, MedianStopping, NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import RungReached, SearchOpened
from search.journal.journal import Journal
from search.journal.lines import JournalError, read_events
from search.journal.record import SearchRecord
from search.journal.replay import replay
from search.journal.study import Study
from search.running.faults.diagnosis import Location
from search.running.faults.tolerance import FaultTolerance
from search.running.resources import Resources, ResourcesError
from search.running.run import _StudyFailures, run_study
from search.running.trial_files import hang_path
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
    deadly_node: str = ""

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
                case "dies once" if self._is_first("died"):
                    os.kill(os.getpid(), signal.SIGKILL)
                case "dies always":
                    os.kill(os.getpid(), signal.SIGKILL)
                case _ if node == self.deadly_node:
                    os.kill(os.getpid(), signal.SIGKILL)
                case _ if self.deadly_node:
                    self._wait_for_two_deaths()
                case "runs out of memory":
                    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
                    resource.setrlimit(resource.RLIMIT_AS, (2**34, soft))
                    bytearray(2**35)
                case "finds the disk full":
                    with Path("/dev/full").open("wb", buffering=0) as full:
                        full.write(b"checkpoint")
                case "hangs once" if self._is_first("hung"):
                    time.sleep(600)
                case "hangs":
                    time.sleep(600)
                case "hangs in C":
                    ctypes.PyDLL(None).sleep(600)  # and holds Python's lock
            time.sleep(self.rung_s)
            yield RungScore(rung, iteration, true_miou(cell) * iteration / RUNGS[-1], 1.0, 0.1 * rung)

    def _wait_for_two_deaths(self):
        until_s = time.monotonic() + 60
        while (self.folder / "visits.txt").read_text().count(self.deadly_node) < 2 and time.monotonic() < until_s:
            time.sleep(0.05)

    def _is_first(self, name):
        mark = self.folder / name
        is_first = not mark.exists()
        mark.touch()
        return is_first


def plan(trials, scheduler, space=SPACE, **changes):
    return Plan(space, Uniform(), scheduler, RUNGS, trials, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1), **changes)


def search(folder, of_plan, faults=None, resources=Resources(), rung_s=0.0, tolerance=FaultTolerance(), deadly_node=""):  # noqa: B008
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(journal.events), of_plan, SearchOpened("toy", {}, {}, 0.0))
        task = Landscape(faults or {}, folder, rung_s, deadly_node)
        run_study(
            study,
            task,
            resources=resources,
            tolerance=tolerance,
            checkpoints=folder / "checkpoints",
            operators=of_plan.space.operator_kinds,
        )
    return study


@pytest.mark.parametrize(
    "scheduler", [Asha(1), Asha(1, brackets=3), MedianStopping(1, 3), NoStopping()], ids=["asha", "hyperband", "median", "none"]
)
def test_every_scheduler_ends_with_every_cell_evaluated_once_and_the_best_first(two_nodes, tmp_path, scheduler):
    study = search(tmp_path, plan(16, scheduler))
    events, _ = read_events(tmp_path / "journal.jsonl")
    record = SearchRecord(events)
    assert study.is_complete
    assert sorted(record.trials) == list(range(16))
    assert len({trial.cell.digest for trial in record.trials.values()}) == 16
    statuses = Counter(trial.status for trial in record.finished)
    assert statuses[Status.COMPLETED] >= 1
    assert statuses[Status.COMPLETED] + statuses[Status.STOPPED] == 16
    assert (statuses[Status.STOPPED] == 0) == isinstance(scheduler, NoStopping)
    assert record.ranked()[0].cell == max((trial.cell for trial in record.finished), key=true_miou), "the best was stopped"
    for trial in record.finished:
        assert [rung.iteration for rung in trial.rungs] == list(RUNGS[: len(trial.rungs)])
        assert trial.rungs[-1].miou == pytest.approx(true_miou(trial.cell) * trial.rungs[-1].iteration / RUNGS[-1])
    assert replay(events, plan(16, scheduler)).differences == ()


def test_a_deterministic_search_makes_the_same_decisions_on_a_cluster_as_one_by_one(two_nodes, tmp_path):
    of_plan = plan(16, Asha(1), window=4)
    tables = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        search(folder, of_plan, rung_s=0.02)
        events, _ = read_events(folder / "journal.jsonl")
        rungs = sorted((event for event in events if isinstance(event, RungReached)), key=lambda e: (e.trial, e.rung))
        tables.append([(rung.trial, rung.rung, rung.miou, rung.goes_on, rung.reason) for rung in rungs])
        assert replay(events, of_plan).differences == ()
    assert tables[0] == tables[1]
    assert any(not goes_on and "below" in reason for _, _, _, goes_on, reason in tables[0])


def test_a_search_whose_journal_is_deleted_stops_at_its_next_event(two_nodes, tmp_path):
    def delete():
        while not (tmp_path / "visits.txt").exists():
            time.sleep(0.01)
        (tmp_path / "journal.jsonl").unlink()

    Thread(target=delete, daemon=True).start()
    with pytest.raises(JournalError, match="journal.jsonl: was deleted or replaced while this search ran"):
        search(tmp_path, plan(9, NoStopping()), rung_s=0.3)
    assert len((tmp_path / "visits.txt").read_text().splitlines()) < 9


def test_trials_run_on_every_node(two_nodes, tmp_path):
    search(tmp_path, plan(9, NoStopping()), rung_s=0.5)
    nodes = {line.split()[1] for line in (tmp_path / "visits.txt").read_text().splitlines()}
    assert len(nodes) == 2


def test_trials_leave_a_node_that_drains_after_their_rung_and_count_no_retry(two_nodes, tmp_path):
    node = two_nodes.add_node(num_cpus=1)
    drained = Thread(target=drain_once_visited, args=(two_nodes, node, tmp_path / "visits.txt"))
    drained.start()
    record = search(tmp_path, plan(8, NoStopping()), rung_s=0.5, tolerance=FaultTolerance(retries=0)).record
    drained.join()
    assert {trial.status for trial in record.finished} == {Status.COMPLETED}
    visits = Counter(line.split()[0] for line in (tmp_path / "visits.txt").read_text().splitlines())
    assert len(visits) == 8
    assert sum(visits.values()) > 8, "no trial ran on the node when it began to drain"


def drain_once_visited(cluster, node, visits):
    while not visits.exists() or node.node_id not in visits.read_text():
        time.sleep(0.1)
    no_deadline_ms = 0
    preempted = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, reason = GcsClient(cluster.address).drain_node(node.node_id, preempted, "spot", no_deadline_ms)
    assert accepted, reason


def test_a_node_where_processes_die_is_left_out_and_costs_each_trial_one_retry(two_nodes, tmp_path):
    deadly = ray.get_runtime_context().get_node_id()
    record = search(tmp_path, plan(4, NoStopping()), tolerance=FaultTolerance(retries=1), deadly_node=deadly).record
    assert record.ends == {Status.COMPLETED: 4}
    (left_out,) = record.left_out
    assert re.fullmatch(r"node [\d.]+", left_out.device)
    assert "died" in left_out.reason


FAULTS = {
    "raises": "RuntimeError: this cell cannot be built",
    "diverges": "the loss was not finite by iteration 1",
    "dies always": "after 1 retries: .*died",
    "runs out of memory": "out of memory even alone on .*: MemoryError",
    "finds the disk full": "after 1 retries: .*No space left on device",
    "hangs": "after 1 retries: hung: no score within 3 s, see ",
    "hangs in C": "after 1 retries: hung: no score within 3 s, see ",
}
TIMES = {"raises": 1, "diverges": 1, "finds the disk full": 3}  # once on each node, and then its one retry


def test_cells_that_keep_failing_say_why_and_have_no_score_and_the_search_goes_on(two_nodes, tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1, 3, 6])})
    faulty, sound = dict(zip(FAULTS, space.enumerate(), strict=False)), list(space.enumerate())[len(FAULTS) :]
    faults, tolerance = {cell.digest: fault for fault, cell in faulty.items()}, FaultTolerance(retries=1, rung_timeout_s=3.0)
    record = search(tmp_path, plan(space.num_distinct, NoStopping(), space), faults, tolerance=tolerance).record
    ended = {trial.cell: trial for trial in record.finished}
    visits = Counter(line.split()[0] for line in (tmp_path / "visits.txt").read_text().splitlines())
    for fault, cell in faulty.items():
        assert ended[cell].status == (Status.DIVERGED if fault == "diverges" else Status.FAILED), fault
        assert ended[cell].miou is None, fault
        assert re.match(FAULTS[fault], ended[cell].ended.reason), fault
        assert visits[cell.digest] == TIMES.get(fault, 2), fault
    assert [ended[cell].status for cell in sound] == [Status.COMPLETED] * 2


def test_a_fault_that_passes_costs_the_cell_nothing(two_nodes, tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1, 3])})
    cells = list(space.enumerate())
    faults = {cells[0].digest: "dies once", cells[1].digest: "hangs once"}
    tolerance = FaultTolerance(retries=1, rung_timeout_s=3.0)
    record = search(tmp_path, plan(4, NoStopping(), space), faults, tolerance=tolerance).record
    assert {trial.status for trial in record.finished} == {Status.COMPLETED}
    for trial in record.finished:
        assert [rung.miou for rung in trial.rungs] == [true_miou(trial.cell) * rung / RUNGS[-1] for rung in RUNGS]
    assert list((tmp_path / "checkpoints").glob("*")) == []


def test_a_search_cut_short_goes_on_without_evaluating_a_cell_twice(two_nodes, tmp_path):
    search(tmp_path, plan(8, NoStopping()))
    whole = (tmp_path / "journal.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = [index for index, line in enumerate(lines) if b'"trial_ended"' in line]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[: ends[3] + 1]))
    done_before = {trial.cell.digest for trial in SearchRecord(read_events(tmp_path / "journal.jsonl")[0]).finished}
    (tmp_path / "visits.txt").unlink()
    late = tmp_path / "checkpoints" / "of-a-worker-that-outlived-its-driver.safetensors"
    late.touch()
    study = search(tmp_path, plan(8, NoStopping()))
    assert not late.exists()
    visited = [line.split()[0] for line in (tmp_path / "visits.txt").read_text().splitlines()]
    assert study.is_complete
    assert len(study.record.finished) == 8
    assert not done_before & set(visited)
    assert len(visited) == len(set(visited)) == 8 - len(done_before)


@pytest.mark.parametrize("resources", [Resources(cpu=64), Resources(gpu=1)], ids=["cpu", "gpu"])
def test_a_trial_that_no_node_can_hold_is_refused(two_nodes, tmp_path, resources):
    with pytest.raises(ResourcesError, match=r"resources\.(cpu|gpu): a trial asks for"):
        search(tmp_path, plan(1, NoStopping()), resources=resources)


@pytest.mark.parametrize(
    ("limit_s", "silent_s", "trace", "said"),
    [
        (None, 99, "a traceback", "the worker is gone"),  # of an earlier run, which had a limit
        (9, 5, "", "the worker is gone"),
        (9, 9.5, "a traceback", "hung: no score within 9 s, see {path}"),
        (9, 9.5, "", "hung: no score within 9 s, see {path} on node 10.0.0.3"),  # with a store it lies on that node's disk
    ],
)
def test_a_hang_is_told_from_a_death_wherever_its_traceback_lies(tmp_path, monkeypatch, limit_s, silent_s, trace, said):
    told = []
    attempts = SimpleNamespace(
        is_current=lambda trial, attempt: True,
        silent_s=lambda trial: silent_s,
        lost=lambda trial, reason, node: told.append(reason),
    )
    monkeypatch.setattr("search.running.run.died_at", lambda text: Location("n", "10.0.0.3"))
    cell = SPACE.sample(Random(0))
    study = SimpleNamespace(record=SimpleNamespace(trials={7: SimpleNamespace(cell=cell)}))
    if trace:
        hang_path(tmp_path, cell).write_text(trace)
    (tmp_path / "error.txt").write_text("the worker is gone")
    trial = SimpleNamespace(config={"trial": 7}, trial_id="a", error_file=tmp_path / "error.txt")
    failures = _StudyFailures(study, attempts, FaultTolerance(rung_timeout_s=limit_s), tmp_path)
    failures.on_trial_error(0, [], trial)
    assert told == [said.format(path=hang_path(tmp_path, cell))]
