"""Trouble of a trial that its cell may not be to blame for: memory that others took, a GPU or a node that is broken."""

import os
import re
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from errno import ENOMEM
from pathlib import Path

import ray

from data.cache.files import CacheError
from data.datasets.contract import UnreadableError
from models.settings import KERNELS
from search.running.nodes.cluster import nodes
from search.running.ray_internals import draining_nodes, place_of_actor
from training.score import FeaturesGoneError


class Short(StrEnum):
    """What a trial ran out of, and so what it gets to itself when it is tried again."""

    GPU = "gpu"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a trial runs, and what may be broken there: its GPU, or GPUs, or all of its node.

    Attributes:
        node: Ray's id of the node.
        address: of the node, for people.
        gpus: as the node names them: an index, or a UUID where its CUDA_VISIBLE_DEVICES holds those; none of a whole node.
    """

    node: str
    address: str
    gpus: tuple[str, ...] = ()

    @property
    def is_node(self) -> bool:
        """Whether it is a whole node."""
        return not self.gpus

    @property
    def whole_node(self) -> "Location":
        """The node that it is, or is on."""
        return replace(self, gpus=())

    def __str__(self) -> str:
        return f"node {self.address}" if self.is_node else f"{self.address} GPU {' and '.join(self.gpus)}"


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """There was not enough memory. ``place`` is what a trial can have to itself at most, in words."""

    short: Short
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class LocalFault:
    """A GPU failed, or a node's disk or files, or a cell made it fail: only other trials and other locations can tell.

    Attributes:
        with_kernels: this project's kernels may be to blame.
    """

    location: Location
    reason: str
    with_kernels: bool = False


def this_location() -> Location:
    """What Ray gave to this process."""
    gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return Location(ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), tuple(gpus))


def is_shared_in_turns(location: Location, share: float) -> bool:
    """Whether this process has a part of a GPU without NVIDIA's MPS: its trials are no faster together than one by one."""
    pipe = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))  # MPS' own default
    return bool(location.gpus) and 0 < share < 1 and not (pipe / "control").exists()


def fault_of(error: Exception, location: Location) -> OutOfMemory | LocalFault | None:
    """What ``error``, raised by a trial at ``location``, may mean beyond the cell; None if nothing."""
    is_out_of_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == ENOMEM)
    if is_out_of_memory or "can't allocate memory" in str(error):
        return OutOfMemory(Short.NODE, f"on {location.address}", one_line(error))
    if location.gpus and (type(error).__name__ == "OutOfMemoryError" or _IS_GPU_MEMORY.search(str(error))):
        return OutOfMemory(Short.GPU, f"on {_gpu()}", one_line(error))
    if location.gpus and (type(error).__name__ == "AcceleratorError" or _IS_DEVICE.search(str(error))):
        reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        return LocalFault(location, reason, with_kernels=_KERNELS_MODULE in sys.modules and os.environ.get(KERNELS) != "0")
    if isinstance(error, FeaturesGoneError):
        return LocalFault(location, one_line(error))
    if isinstance(error, OSError | CacheError | UnreadableError):
        return LocalFault(location.whole_node, one_line(error))
    return None


def death_of(reason: str) -> OutOfMemory | None:
    """What Ray says of a process that ended: whether its node was short of memory."""
    if "node running low on memory" not in reason:
        return None
    return OutOfMemory(Short.NODE, "on a node", "Ray ended the process because its node was running low on memory")


def died_at(reason: str) -> Location | None:
    """The node of the process of whose end Ray says this; None if that is unknown, or the node goes or has gone."""
    place = place_of_actor(reason)
    if place is None or place[0] not in {node.id for node in nodes()} - set(draining_nodes()):
        return None
    return Location(*place)


def one_line(error: BaseException) -> str:
    """An error as the reason of a trial's end."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _gpu() -> str:
    torch = sys.modules.get("torch")  # what ran out of a GPU's memory has imported it
    if torch is None or not torch.cuda.is_available():
        return "a GPU"
    return f"a GPU of {torch.cuda.get_device_properties(0).total_memory / 2**30:.1f} GiB"


_KERNELS_MODULE = "models.kernels.layers"
_IS_GPU_MEMORY = re.compile(r"out of memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
_IS_DEVICE = re.compile(
    r"(CUDA|HIP|cuDNN|NCCL) error|(CUDNN|CUBLAS|CUSOLVER|CUFFT)_STATUS_|Triton Error|device-side assert"
    r"|illegal memory access|unspecified launch failure|uncorrectable ECC",
    re.IGNORECASE,
)
"""Torch, its libraries and Triton say so in errors of several kinds."""
