"""Whether every node of the cluster can use a store, asked before the first trial."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data.store import Store, StoreError

TIMEOUT_S = 120.0


def check_nodes(store: Store, checkpoints: Path) -> None:
    """Let each node read what this process writes, write, and make its own folder for checkpoints.

    Raises:
        StoreError: names the node that cannot, and why.
    """
    name = f"probe-{uuid4().hex}"
    store.write(name, name.encode())
    try:
        nodes = {_asked(node, store, name, checkpoints): node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
        answers, silent = ray.wait(list(nodes), num_returns=len(nodes), timeout=TIMEOUT_S)
        for answer in answers:
            if reason := _answer(answer):
                raise StoreError(f"store: node {nodes[answer]} cannot use it: {reason}")
        if silent:
            raise StoreError(f"store: node {nodes[silent[0]]} did not answer within {TIMEOUT_S:g} s.")
    finally:
        store.delete(name)


def _asked(node: Mapping[str, Any], store: Store, name: str, checkpoints: Path) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return _trouble.options(num_cpus=0, max_retries=1, scheduling_strategy=strategy).remote(store, name, checkpoints)


def _answer(answer: Any) -> str:
    try:
        return str(ray.get(answer))
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[-1]


@ray.remote
def _trouble(store: Store, name: str, checkpoints: Path) -> str:
    """What this node cannot do; empty where it can do all."""
    try:
        if store.read(name) != name.encode():
            return f"{store} is another place there, without what the driver has written."
        store.check()
        checkpoints.mkdir(parents=True, exist_ok=True)
        if not os.access(checkpoints, os.W_OK):
            return f"output_dir: {checkpoints} is not writable there."
    except OSError as error:
        return str(error)
    return ""
