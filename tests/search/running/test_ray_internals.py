"""What Ray does not promise to keep, one test a place: at a new version of Ray these say what has gone, without a cluster."""

import ast
import inspect
import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray import ActorID, cloudpickle, tune
from ray._private import ray_constants, services
from ray._private.node import Node
from ray._raylet import (
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    persist_port,
)
from ray.autoscaler._private.autoscaler import AutoscalerSummary
from ray.core.generated import autoscaler_pb2, common_pb2, gcs_pb2
from ray.exceptions import ActorDiedError
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment.trial import Trial, _TemporaryTrialState

from search.running import ray_internals
from search.running.nodes.autoscaler import autoscales, is_growing

ROOT = Path(ray_internals.__file__).parents[2]
INTERNAL = re.compile(
    r"ray\._|from ray\._|ray\.autoscaler|ray\.core|ray\.experimental|ray\.(tune|train|air)\.(execution|v2|_internal)|"
    r"\b_temp_dir=|_system_config|temporary_state|get_live_trials|preempted=True"
)


def test_one_file_uses_what_ray_does_not_promise_to_keep():
    files = [
        file for folder in ("search", "cluster", "training", "data", "models", "dpc") for file in (ROOT / folder).rglob("*.py")
    ]
    assert [file.name for file in files if INTERNAL.search(file.read_text())] == ["ray_internals.py"]


def test_a_local_ray_still_takes_its_hidden_options():
    taken = {
        node.args[0].value
        for node in ast.walk(ast.parse(inspect.getsource(ray.init)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "kwargs.pop"
    }
    assert ray_internals.options_of_local_ray().keys() <= taken


def test_a_local_ray_is_still_started_by_the_methods_that_are_left_out():
    starting = inspect.getsource(Node.start_head_processes) + inspect.getsource(Node.start_ray_processes)
    assert [name for name in ray_internals._SERVERS if f"self.{name}(" not in starting] == []


def test_rays_agent_of_the_dashboard_is_still_a_program_that_can_be_another():
    starting = " ".join(inspect.getsource(services.start_raylet).split())
    replaced = (
        f"{services._build_python_executable_command_memory_profileable.__name__}( ray_constants.PROCESS_TYPE_DASHBOARD_AGENT"
    )
    assert replaced in starting
    assert ray_constants.PROCESS_TYPE_DASHBOARD_AGENT == ray_internals.PROCESS_TYPE_DASHBOARD_AGENT


def test_the_silent_agent_says_what_rays_own_says_without_its_services_and_ends_with_its_raylet(tmp_path):
    rays, ours, node = tmp_path / "rays", tmp_path / "ours", "ab" * 28
    for folder in (rays, ours):
        folder.mkdir()
    for name in (METRICS_AGENT_PORT_NAME, METRICS_EXPORT_PORT_NAME, DASHBOARD_AGENT_LISTEN_PORT_NAME):
        persist_port(str(rays), node, name, -1)
    with ray_internals.without_servers():
        program = services._build_python_executable_command_memory_profileable(ray_constants.PROCESS_TYPE_DASHBOARD_AGENT, "")
    arguments = ["agent.py", f"--node-id={node}", "--node-ip-address=127.0.0.1", f"--session-dir={ours}", "--head"]
    agent = subprocess.Popen(
        [*program, *arguments], env={"RAY_RAYLET_PID": "1"}
    )  # another than its parent: a raylet that has ended
    assert agent.wait(30) == 0
    assert {file.name: file.read_text() for file in ours.iterdir()} == {file.name: file.read_text() for file in rays.iterdir()}


def test_nodes_that_drain_are_asked_of_rays_state(monkeypatch):
    asked = SimpleNamespace(get_draining_nodes=lambda: {"a node": 0})
    monkeypatch.setattr(ray_internals.state, "_connect_and_get_accessor", lambda: asked)
    assert ray_internals.draining_nodes() == ["a node"]


def test_an_error_still_says_that_its_node_was_taken_away():
    error = cloudpickle.loads(cloudpickle.dumps(ray_internals.preempted("it goes")))
    assert error.preempted
    assert "it goes" in str(error)


def test_tune_still_looks_whether_a_node_was_taken_away():
    assert "preempted" in inspect.getsource(Trial.handle_error) + inspect.getsource(Trial._handle_ray_actor_error)


def test_tune_tells_no_keys_of_the_driver(monkeypatch):
    class Trainable(tune.Trainable):
        pass

    for name in ray_internals._SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(ray_internals.class_cache, "ENV_VARS_TO_PROPAGATE", {*ray_internals._SECRETS, "OTHER"})
    monkeypatch.setenv("OTHER", "passed on")
    ray_internals.keep_secrets()
    told = str(_ActorClassCache().get(Trainable)._default_options["runtime_env"])
    assert "passed on" in told
    assert "secret" not in told


def test_the_actor_of_a_trial_is_where_it_was():
    state = _TemporaryTrialState()
    state.ray_actor = "actor"
    assert ray_internals.actor_of(SimpleNamespace(temporary_state=state)) == "actor"
    assert "self.temporary_state.ray_actor = ray_actor" in inspect.getsource(Trial.set_ray_actor)


def test_tune_still_keeps_its_live_trials():
    controller = SimpleNamespace(_live_trials={"trial"})
    controller.get_live_trials = lambda: TuneController.get_live_trials(controller)
    assert ray_internals.live_trials(controller) == ["trial"]


def test_the_place_of_an_actor_that_died_is_still_kept(monkeypatch):
    died = gcs_pb2.ActorTableData(address=common_pb2.Address(node_id=bytes(28), ip_address="10.0.0.3"))
    asked = SimpleNamespace(get_actor_info={ActorID(bytes(range(16))): died.SerializeToString()}.get)
    monkeypatch.setattr(ray_internals.state, "_connect_and_get_accessor", lambda: asked)
    context = common_pb2.ActorDiedErrorContext(actor_id=bytes(range(16)))
    assert ray_internals.place_of_actor(str(ActorDiedError(context))) == ("00" * 28, "10.0.0.3")
    another = common_pb2.ActorDiedErrorContext(actor_id=bytes(16))
    assert ray_internals.place_of_actor(str(ActorDiedError(another))) is None
    assert ray_internals.place_of_actor("it died") is None


def test_tune_still_lets_a_scheduler_end_a_trial_that_waits_and_nothing_is_printed(capsys):
    assert '"stop_trial"' in inspect.getsource(TuneController._wrapped)
    assert "Trial.PENDING" in inspect.getsource(TuneController.stop_trial)
    ended = []
    ray_internals.stop_waiting(SimpleNamespace(stop_trial=lambda trial: print(trial) or ended.append(trial)), "trial")
    assert ended == ["trial"]
    assert capsys.readouterr().out == ""


@pytest.fixture
def gcs(monkeypatch):
    """What a head would answer."""
    answers = SimpleNamespace(get_cluster_status=None, internal_kv_get=None)
    monkeypatch.setattr(ray_internals, "internal_kv_get_gcs_client", lambda: answers)
    return answers


@pytest.mark.parametrize(("node_type", "starts_nodes"), [("worker.cpu", True), ("", False)])
def test_autoscaler_v2_still_says_what_types_nodes_have(monkeypatch, gcs, node_type, starts_nodes):
    status = autoscaler_pb2.GetClusterStatusReply()
    status.cluster_resource_state.node_states.add(ray_node_type_name=node_type)
    gcs.get_cluster_status = status.SerializeToString
    monkeypatch.setattr(ray_internals, "is_autoscaler_v2", lambda fetch_from_server: True)
    assert autoscales() == starts_nodes


def test_autoscaler_v2_still_says_what_it_cannot_start_and_what_it_has_asked_for(monkeypatch, gcs):
    status = autoscaler_pb2.GetClusterStatusReply()
    status.autoscaling_state.infeasible_gang_resource_requests.add(details="the group of a trial")
    status.autoscaling_state.pending_instance_requests.add()
    gcs.get_cluster_status = status.SerializeToString
    monkeypatch.setattr(ray_internals, "is_autoscaler_v2", lambda fetch_from_server: True)
    assert is_growing()
    answer = ray_internals.autoscaler_v2_status().autoscaling_state
    assert [request.details for request in answer.infeasible_gang_resource_requests] == ["the group of a trial"]
    assert len(answer.pending_instance_requests) == 1
    assert not answer.pending_instances


@pytest.mark.parametrize(("node_type", "starts_nodes"), [("ray.worker", True), ("node_1f", False)])
def test_the_older_autoscaler_still_reports_types_of_nodes(monkeypatch, gcs, node_type, starts_nodes):
    report = {"autoscaler_report": {"node_type_mapping": {"10.0.0.1": node_type}}}
    gcs.internal_kv_get = lambda key, namespace: json.dumps(report).encode() if key == b"__autoscaling_status" else None
    monkeypatch.setattr(ray_internals, "is_autoscaler_v2", lambda fetch_from_server: False)
    assert autoscales() == starts_nodes


@pytest.mark.parametrize("pending", [{}, {"pending_launches": {"ray.worker": 1}}, {"pending_nodes": [["", "ray.worker", ""]]}])
def test_the_older_autoscaler_still_reports_the_nodes_that_it_waits_for(monkeypatch, gcs, pending):
    named = {field.name for field in fields(AutoscalerSummary)}
    assert pending.keys() <= named
    gcs.internal_kv_get = lambda key, namespace: json.dumps({"autoscaler_report": pending}).encode()
    monkeypatch.setattr(ray_internals, "is_autoscaler_v2", lambda fetch_from_server: False)
    assert is_growing() == bool(pending)


def test_whether_an_autoscaler_is_of_the_second_kind_is_still_asked_of_the_cluster():
    assert "fetch_from_server" in inspect.signature(ray_internals.is_autoscaler_v2).parameters
