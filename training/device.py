"""Where a process computes: on the GPU that it was given, or on the CPU where it was given none."""

import os
import socket

import torch

PROMISED = "CUDA_VISIBLE_DEVICES"
"""Ray, Slurm and people name a process' GPUs in it; empty, or -1, where it shall have none."""


class NoGpuError(OSError):
    """A process that was given a GPU cannot use it; the CPU would take days for what was planned as hours."""


def given_device() -> torch.device:
    """A GPU where there is one, else the CPU.

    Raises:
        NoGpuError: this process was promised a GPU.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get(PROMISED, "") in ("", "-1", "NoDevFiles"):
        return torch.device("cpu")
    raise NoGpuError(f"{socket.gethostname()} gave this process GPU {os.environ[PROMISED]} ({PROMISED}): {why_no_gpu()}")


def why_no_gpu() -> str:
    """Why torch has no GPU here, in its own words: no driver, one that is too old, or a build without CUDA."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split())
    return "torch sees none"
