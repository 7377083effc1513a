"""What a search ran on, for whoever repeats it: written into its journal, decided by nothing."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from data.system.cpus import available_cpus
from models.latency import LatencyTable

PACKAGES = ("torch", "ray", "numpy", "timm", "optuna", "scikit-learn")
"""What trains, schedules and proposes."""


def machine() -> dict[str, str]:
    """The driver's hardware and the versions of the libraries that matter; nodes of a cluster may have other hardware."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    hardware = {"cpu": _processor(), "cpus": str(available_cpus()), "gpus": ", ".join(gpus) or "none"}
    return hardware | {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def hardware(device: torch.device) -> str:
    """Its name, for a table of latencies."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def hardware_like(table: LatencyTable) -> str:
    """What this machine has of the kind that a table was measured on."""
    if table.settings.get("device") != "cuda":
        return _processor()
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "a machine without a GPU"


def _processor() -> str:
    """Its name, where Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
