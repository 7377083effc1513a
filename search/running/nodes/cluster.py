"""The Ray cluster that trials run on: joining it, and what it can hold."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from textwrap import shorten

import ray

from data.system.cpus import available_cpus
from data.system.errors import LaterError
from data.system.project import ROOT
from search.running.nodes.address import LOCAL, given_address
from search.running.nodes.autoscaler import autoscales, check_growth
from search.running.ray_internals import draining_nodes, options_of_local_ray, without_servers
from search.running.resources import Node, Resources, ResourcesError


def connect(address: str | None) -> None:
    """Join the Ray cluster at ``address`` or of the surrounding job; without one, start Ray on this machine.

    Does nothing where this process has joined one already.

    Raises:
        ConnectionError: no cluster answers there, or it does not take this process: a token, another version.
        LaterError: Ray did not start here.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = given_address(address)
    is_local = address == LOCAL
    if ":" in address:
        _check_answers(address)
    with (
        chdir(ROOT),  # where workers look for modules first: a user's folder may have a package `models` or `data` of its own
        _on_this_machine() if is_local else _on_a_cluster(address),
    ):
        ray.init(
            address=address,
            num_cpus=available_cpus() if is_local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if is_local else None,
            runtime_env={"env_vars": _WORKER_ENVIRONMENT},
            **(options_of_local_ray() if is_local else {}),
        )


@contextmanager
def _on_this_machine() -> Iterator[None]:
    """Says in one line that a Ray of this machine did not start: it gives its own processes half a minute."""
    try:
        with without_servers():
            yield
    except (TypeError, ValueError, OSError):
        raise
    except Exception as error:  # Ray raises many kinds, among them Exception itself
        reason = shorten(str(error) or type(error).__name__, 200)
        raise LaterError(
            f"Ray did not start on this machine ({reason}); run the same command again once the machine is less busy."
        ) from error


@contextmanager
def _on_a_cluster(address: str) -> Iterator[None]:
    """Says in one line why a cluster does not take this process."""
    try:
        yield
    except (TypeError, ValueError, OSError):
        raise
    except Exception as error:  # a version mismatch is a RuntimeError
        raise ConnectionError(
            f"ray.address: the cluster at {address} does not take this process: {shorten(str(error), 400)}"
        ) from error


def slots(resources: Resources) -> int:
    """How many trials the cluster holds at once."""
    return max(1, sum(resources.slots_on(node) for node in nodes()))


def nodes() -> list[Node]:
    """The machines of the cluster that are alive."""
    return [Node.of(told) for told in ray.nodes() if told["Alive"]]


def most_pending(resources: Resources, bound: int) -> int:
    """How many trials may wait for a place: where nodes are started for them, all that the search may ask for."""
    return bound if autoscales() else min(slots(resources), bound)


def check_cluster(resources: Resources) -> None:
    """Some node must hold a trial, or be one that the autoscaler can start.

    Raises:
        ResourcesError: there is none.
    """
    try:
        resources.check_fits(nodes(), "the largest node of the cluster")
    except ResourcesError:
        if not autoscales():
            raise
        check_growth(resources)


def is_node_draining() -> bool:
    """Whether the node of this process is about to go: a spot machine's notice, or an autoscaler that takes it back."""
    return ray.get_runtime_context().get_node_id() in draining_nodes()


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"ray.address: no Ray cluster answers at {address}; accepted are null, auto and <host>:<port> of a head."
        ) from error


_WORKER_ENVIRONMENT = {
    # Waiting OpenMP threads sleep instead of spinning against the other trials of the machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    # OpenCV would start a thread for every CPU of the machine.
    "OPENCV_FOR_THREADS_NUM": "1",
    # Big temporaries are reused instead of unmapped: 1.13 to 1.2 times the steps on CPU (docs/log.md).
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
