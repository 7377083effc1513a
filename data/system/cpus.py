"""How many CPUs this process may use, which a batch system or a container bounds."""

import os
from math import ceil
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cpus(quota: Path = QUOTA) -> int:
    """Those that the process may run on, and no more than the time that its cgroup is given."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time_us, period_us = quota.read_text().split()
        return max(1, min(allowed, ceil(int(time_us) / int(period_us))))
    except (OSError, ValueError):  # no such file, or the word max
        return allowed
