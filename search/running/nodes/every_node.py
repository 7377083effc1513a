"""Runs a function on every node of the connected cluster, at once."""

import socket
from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, RayTaskError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

T = TypeVar("T")

TIMEOUT_S = 60.0
"""For a node to answer: it may first have to start a process and unpack the job's code."""


def on_every_node(function: Callable[[], T]) -> list[tuple[str, T]]:
    """Each node's name, and what ``function`` returns there. A node that goes away meanwhile is left out.

    Raises:
        TimeoutError: a node does not answer.
        Exception: what ``function`` raises on a node.
    """
    call: Any = ray.remote(num_cpus=0)(_call)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    strategies = (NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes)
    running = [call.options(scheduling_strategy=strategy).remote(function) for strategy in strategies]
    answers = []
    for node, answer in zip(nodes, running, strict=True):
        name = _name(node["NodeManagerAddress"], node["NodeManagerHostname"])
        try:
            answers.append((name, ray.get(answer, timeout=TIMEOUT_S)))
        except (NodeDiedError, TaskUnschedulableError):
            continue
        except GetTimeoutError:
            raise TimeoutError(f"{name}: no answer within {TIMEOUT_S:g} s; is a file system of its own hanging?") from None
        except RayTaskError as error:
            raise error.cause from error
    return answers


def this_node() -> str:
    """The name of the node that this process runs on, as people find it."""
    return _name(ray.util.get_node_ip_address(), socket.gethostname())


def driver_node() -> NodeAffinitySchedulingStrategy:
    """Where what must live as long as this process is put."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _call(function: Callable[[], T]) -> T:
    return function()


def _name(address: str, host: str) -> str:
    return f"node {address} ({host})"
