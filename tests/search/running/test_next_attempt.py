"""What an attempt is given after one that failed, without Ray; test_attempts.py has it on a cluster."""

import logging
from types import SimpleNamespace

import pytest

from models.spec import BACKBONE, Branch, CellSpec, Conv1x1
from search.running import attempts
from search.running.attempts import Attempts
from search.running.faults.diagnosis import LocalFault, Location, OutOfMemory, Short
from search.running.faults.tolerance import FaultTolerance
from search.running.resources import Node, Resources
from search.running.trial import IN_TURNS, Warnings

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
