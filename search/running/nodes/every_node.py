"""Runs a function on every node of the connected cluster, at once."""

import socket
from collections.abc import Callable
from textwrap import shorten
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, RayTaskError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.running.resources import Node, Resources

T = TypeVar("T")

TIMEOUT_S = 60.0
"""For a node to answer: it may first have to start a process and unpack the job's code."""
MOST_OF_RAY = 400
"""Characters of what Ray says."""


def on_every_node(function: Callable[[], T], resources: Resources | None = None) -> list[tuple[str, T]]:
    """Each node's name, and what ``function`` returns there. A node that goes away meanwhile is left out.

    Args:
        resources: of a trial: nodes that cannot hold one, such as a head without CPUs, are not asked.

    Raises:
        TimeoutError: a node does not answer.
        OSError: a node cannot run anything.
        Exception: what ``function`` raises on a node.
    """
    call: Any = ray.remote(num_cpus=0)(_call)
    alive = (node for node in ray.nodes() if node["Alive"])
    nodes = [node for node in alive if resources is None or resources.slots_on(Node.of(node))]
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
            raise TimeoutError(f"{name}: no answer within {TIMEOUT_S:g} s; is one of its file systems hanging?") from None
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise OSError(f"{name}: Ray can run nothing there: {shorten(str(error), MOST_OF_RAY)}") from error
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
