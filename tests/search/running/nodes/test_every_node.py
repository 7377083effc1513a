"""Which nodes are asked, and what is said of one that runs nothing, without Ray; test_shared_folders.py has it on a cluster."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RuntimeEnvSetupError, WorkerCrashedError

from search.running.nodes import every_node
from search.running.nodes.every_node import on_every_node
from search.running.resources import Resources

NODES = {"head": {"CPU": 0}, "small": {"CPU": 1}, "large": {"CPU": 8}}


@pytest.fixture
def answers(monkeypatch):
    """What tasks on each node raise."""
    raised = {}

    def get(node, timeout):
        if node in raised:
            raise raised[node]
        return node

    def options(scheduling_strategy):
        return SimpleNamespace(remote=lambda function: scheduling_strategy)

    there = [
        {"NodeID": name, "NodeManagerAddress": f"of {name}", "NodeManagerHostname": name, "Alive": True, "Labels": {}}
        | {"Resources": resources}
        for name, resources in NODES.items()
    ]
    fake = SimpleNamespace(remote=lambda **_: lambda function: SimpleNamespace(options=options), nodes=lambda: there, get=get)
    monkeypatch.setattr(every_node, "ray", fake)
    monkeypatch.setattr(every_node, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
    return raised


def test_only_nodes_that_can_hold_a_trial_are_asked_what_trials_need(answers):
    assert [node for _, node in on_every_node(lambda: None)] == ["head", "small", "large"]
    assert [node for _, node in on_every_node(lambda: None, Resources(cpu=2))] == ["large"]


@pytest.mark.parametrize("trouble", [RuntimeEnvSetupError("pip failed:\nno space left"), WorkerCrashedError()], ids=repr)
def test_a_node_that_can_run_nothing_is_named_in_one_line(answers, trouble):
    answers["small"] = trouble
    with pytest.raises(OSError, match=r"^node of small \(small\): Ray can run nothing there: \w+") as caught:
        on_every_node(lambda: None)
    assert "\n" not in str(caught.value)
