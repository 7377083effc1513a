"""Whether torch can use the GPUs that the cluster's nodes say they have, asked before anything is placed there."""

import os
import subprocess
import sys

import ray

from search.running.nodes.every_node import on_every_node
from search.running.resources import Resources

_ASK = "import sys, torch; from training.device import why_no_gpu; sys.exit(0 if torch.cuda.is_available() else why_no_gpu())"
_ASK_S = 50.0
"""For torch to be imported and a driver to answer."""


class NoGpuOnNodeError(OSError):
    """A node was told to Ray with GPUs that torch cannot use there: trials would be placed on it and find none."""


def check_gpus(resources: Resources) -> None:
    """See that each node which has GPUs for Ray has them for torch, where it can hold a trial of these resources.

    Raises:
        NoGpuOnNodeError: names the node, and why it has not.
        TimeoutError: names a node that does not answer.
    """
    for node, trouble in on_every_node(_trouble, resources):
        if trouble:
            raise NoGpuOnNodeError(
                f"resources.gpu: Ray counts GPUs on {node}, but torch finds none there: {trouble} "
                "(docs/cluster.md, What a broken node looks like)."
            )


def _trouble() -> str:
    """What this node lacks; empty where it lacks nothing, or has no GPU for Ray either.

    A process of its own asks: this one has no GPU, because it reserves none, and would keep what it found.
    """
    me = ray.get_runtime_context().get_node_id()
    if not any(node["NodeID"] == me and node["Resources"].get("GPU") for node in ray.nodes()):
        return ""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK], env=environment, timeout=_ASK_S, check=False, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return f"its driver does not answer within {_ASK_S:g} s"
    return "" if asked.returncode == 0 else (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
