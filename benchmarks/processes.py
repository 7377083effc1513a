"""What the kernel counts of a process that runs, whoever started it (proc_pid_stat(5))."""

import os
from pathlib import Path


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def parent_and_cpu_s(pid: int) -> tuple[int, float]:
    """Its parent, and CPU seconds of its own threads.

    Raises:
        OSError: it has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
