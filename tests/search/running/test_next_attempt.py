"""What an attempt is given after one that failed, without Ray; test_attempts.py has it on a cluster."""

import logging
from heapq import heappop, heappush
from types import SimpleNamespace

import pytest

from models.cost import CellCost
from models.spec import BACKBONE, Branch, CellSpec, Conv1x1
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import SearchOpened
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.running import attempts
from search.running.attempts import Attempts
from search.running.faults import held_places
from search.running.faults.diagnosis import LocalFault, Location, OutOfMemory, Short
from search.running.faults.tolerance import FaultTolerance
from search.running.resources import Node, Resources
from search.running.trial import IN_TURNS, Warnings
from training.score import RungScore

GPU = Location("node", "10.0.0.3", ("0",))
ERROR = LocalFault(GPU, "AcceleratorError: CUDA error: an illegal memory access was encountered", with_kernels=True)


@pytest.fixture
def killed(monkeypatch):
    actors = []
    monkeypatch.setattr(attempts.ray, "kill", actors.append)
    return actors


def attempts_at_one_trial(tmp_path, said, kernels=True):
    proposed = SimpleNamespace(trial=1, cell=CellSpec((Branch(BACKBONE, Conv1x1()),)), seed=0)
    record = SimpleNamespace(trials={1: SimpleNamespace(proposed=proposed)}, checkpoint_name=lambda number: "1.safetensors")
    study = SimpleNamespace(record=record, propose=iter([proposed, None, None]).__next__)
    return Attempts(study, FaultTolerance(kernels=kernels), Resources(gpu=1), tmp_path, said.append)


def test_a_device_error_with_kernels_is_followed_by_an_attempt_without_and_blames_no_gpu(tmp_path, killed):
    said = []
    one = attempts_at_one_trial(tmp_path, said)
    assert one.next("first")["kernels"]
    one.handle(1, ERROR, "actor")
    assert killed == ["actor"]
    assert not one.next("second")["kernels"]
    assert said == [f"Trial 1 is tried again with torch's own operators on its GPU: {ERROR.reason}"]


def test_kernels_that_a_setting_turns_off_are_used_by_no_attempt(tmp_path):
    assert not attempts_at_one_trial(tmp_path, [], kernels=False).next("first")["kernels"]


@pytest.mark.parametrize(
    ("cpus", "autoscales", "ended"), [(4, False, ["second"]), (4, True, []), (8, False, []), (0, False, [])]
)
def test_an_attempt_that_waits_for_a_node_larger_than_any_is_followed_by_one_that_asks_for_less(
    tmp_path, monkeypatch, cpus, autoscales, ended
):
    there = [Node({"CPU": 8, "GPU": 1}, id="large")]
    monkeypatch.setattr(attempts, "nodes", lambda: there)
    monkeypatch.setattr(attempts, "autoscales", lambda: autoscales)
    monkeypatch.setattr(attempts, "is_growing", lambda: False)
    monkeypatch.setattr(attempts, "PATIENCE_S", 0)
    one = attempts_at_one_trial(tmp_path, [])
    one.next("first")
    one.try_alone(1, OutOfMemory(Short.NODE, "on 10.0.0.3", "MemoryError"))
    assert one.next("second")["room"] == {"CPU": 8, "GPU": 1}
    there[:] = [Node({"CPU": cpus, "GPU": 1}, id="small")]
    assert one.see_to_room([(1, "second")], []) == ()
    assert list(one.see_to_room([], [(1, "second")])) == ended
    if ended:
        assert one.next("third")["room"] == {"CPU": cpus, "GPU": 1}


@pytest.mark.parametrize(
    ("waited_s", "is_growing", "ended"), [(59, False, []), (61, False, ["second"]), (1199, True, []), (1201, True, ["second"])]
)
def test_an_attempt_that_waits_for_nodes_that_have_gone_is_followed_by_one_that_avoids_none(
    tmp_path, monkeypatch, waited_s, is_growing, ended
):
    now = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(attempts, "time", now)
    there = [Node({"CPU": 8, "GPU": 1}, id=name) for name in ("bad", "good")]
    monkeypatch.setattr(held_places, "nodes", lambda: there)
    monkeypatch.setattr(attempts, "is_growing", lambda: is_growing)
    one = attempts_at_one_trial(tmp_path, [])
    assert one.next("first")["avoided"] == ()
    one.begin(1, "first")
    one.lost(1, "The actor died.", Location("bad", "10.0.0.3"))
    assert one.next("second")["avoided"] == ("bad",)
    del there[1]
    assert one.see_to_room([(1, "second")], []) == ()
    now.monotonic = lambda: waited_s
    assert list(one.see_to_room([], [(1, "second")])) == ended
    if ended:
        assert one.next("third")["avoided"] == ()


def test_an_attempt_that_is_alone_asks_for_the_largest_node_of_those_that_it_may_be_on(tmp_path, monkeypatch):
    there = [Node({"CPU": 64, "GPU": 1}, id="large"), Node({"CPU": 8, "GPU": 1}, id="small")]
    for module in (attempts, held_places):
        monkeypatch.setattr(module, "nodes", lambda: there)
    one = attempts_at_one_trial(tmp_path, [])
    one.next("first")
    one.lost(1, "The actor died.", Location("large", "10.0.0.3"))
    one.next("second")
    one.try_alone(1, OutOfMemory(Short.NODE, "on 10.0.0.4", "MemoryError"))
    third = one.next("third")
    assert (third["avoided"], third["room"]) == (("large",), {"CPU": 8, "GPU": 1})


def test_an_attempt_is_silent_from_its_beginning_and_not_while_it_waits_for_a_place(tmp_path, monkeypatch):
    now = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(attempts, "time", now)
    one = attempts_at_one_trial(tmp_path, [])
    one.next("first")
    assert one.silent_s(1) < 0
    one.begin(1, "an earlier one")
    assert one.silent_s(1) < 0
    one.begin(1, "first")
    now.monotonic = lambda: 1009.0
    assert one.silent_s(1) == 9


def test_a_node_where_every_process_dies_at_once_costs_no_trial_its_score(tmp_path, monkeypatch):
    names, said = [f"node {number}" for number in range(8)], []
    monkeypatch.setattr(held_places, "nodes", lambda: [Node({"CPU": 1}, id=name) for name in names])
    space = CellSpace(2, {"atrous": AtrousConvs([1, 3, 6, 9])})
    plan = Plan(space, Uniform(), NoStopping(), (1,), 60, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1))
    log = SimpleNamespace(append=lambda *events: None)
    study = Study(log, SearchRecord(), plan, SearchOpened("toy", {}, {}, 0.0))
    trials = Attempts(study, FaultTolerance(), Resources(), tmp_path, said.append)
    free, running, now, waiting = list(names), [], 0, []
    while not study.is_over:
        while len(waiting) < len(names) and (given := trials.next(f"attempt {now} {len(waiting)}")):  # as many as Tune has
            waiting.append((f"attempt {now} {len(waiting)}", given))
        for attempt, given in list(waiting):
            if place := next((name for name in free if name not in given["avoided"]), None):
                free.remove(place)
                waiting.remove((attempt, given))
                trials.begin(given["trial"], attempt)
                heappush(running, (now + (5 if place == "node 0" else 100 + given["trial"]), place, given["trial"]))
        now, place, trial = heappop(running)
        free.insert(0, place)
        if place == "node 0":
            trials.lost(trial, "The actor died.", Location(place, "10.0.0.3"))
        else:
            trials.report(trial, RungScore(1, 1, 0.5, 1.0, 1.0), Location(place, "10.0.0.4"))
    assert study.record.ends == {Status.COMPLETED: 60}
    assert [one.device for one in study.record.left_out] == ["node 10.0.0.3"]


def test_what_workers_warn_of_is_said_once_of_each_kind(tmp_path):
    said = []
    one = attempts_at_one_trial(tmp_path, said)
    one.say_once([(IN_TURNS, IN_TURNS)])
    one.say_once([(IN_TURNS, IN_TURNS), ("%s took %d s", "10.0.0.3: it took 3 s")])
    one.say_once([("%s took %d s", "10.0.0.4: it took 4 s")])
    assert said == [IN_TURNS, "10.0.0.3: it took 3 s"]
    assert "nvidia-cuda-mps-control -d" in IN_TURNS


def test_a_worker_hands_on_what_this_projects_code_warns_of_and_only_once():
    warnings = Warnings()
    ours, others = logging.getLogger("models.fused"), logging.getLogger("ray.data")
    for logger in (ours, others):
        logger.addHandler(warnings)
    try:
        ours.warning("compiled in %.0f s", 16)
        ours.warning("compiled in %.0f s", 3)
        ours.info("hello")
        others.warning("a disk is slow")
        assert warnings.new() == [("compiled in %.0f s", "compiled in 16 s")]
        ours.warning("no CUDA graph: %s", "none")
        assert warnings.new() == [("no CUDA graph: %s", "no CUDA graph: none")]
        assert warnings.new() == []
    finally:
        for logger in (ours, others):
            logger.removeHandler(warnings)
