"""The Ray cluster that trials run on: joining it, and what it can hold."""

import logging
import os
import socket

import ray

from search.resources import Node, Resources


def connect(address: str | None) -> None:
    """Join the Ray cluster at ``address`` or of the surrounding job; without one, start Ray on this machine.

    Does nothing where this process has joined one already.

    Raises:
        ConnectionError: no cluster answers there.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    is_local = address == "local"
    if ":" in address:
        _check_answers(address)
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False if is_local else None,
        runtime_env={"env_vars": _WORKER_ENVIRONMENT},
    )


def slots(resources: Resources) -> int:
    """How many trials the cluster holds at once."""
    return max(1, sum(resources.slots_on(node) for node in nodes()))


def nodes() -> list[Node]:
    """The machines of the cluster that are alive."""
    return [Node(node["Resources"], node["Labels"], node["NodeID"]) for node in ray.nodes() if node["Alive"]]


def check_cluster(resources: Resources) -> None:
    """Some node must hold a trial; an autoscaling cluster may still grow one, a cluster without nodes cannot be asked."""
    resources.check_fits(nodes(), "the largest node of the cluster")


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
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
