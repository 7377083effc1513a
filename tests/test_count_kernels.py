"""Every kernel, compiled for an H100 at the sizes that production runs: this needs no GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "count_kernels.py"


def count(*options):
    return subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=False)


def test_no_kernel_of_a_step_spills():
    done = count("--size", "City", "CamVid", "ADE20K")
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"_walk", "_convolve", "_gradient"} <= {line.split()[0] for line in done.stdout.splitlines()}


def test_a_spill_is_seen():
    done = count("--size", "CamVid", "--cell", "aspp", "--registers", "64")
    assert done.returncode == 1
    assert "_walk" in done.stderr
