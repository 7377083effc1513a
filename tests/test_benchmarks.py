"""Every benchmark runs, in its smallest form: its figures mean nothing then, and nobody reads them here.

The two that are tested by themselves are in test_gpu_first.py and test_count_kernels.py.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
DEMO = ("dataset.num_train=8", "dataset.num_val=2", "proxy.rungs=[2,4]", "proxy.cell.filters=8", "cache.workers=1")
SMALLEST = {
    "bench_cache": ("--rows", "8", "--rounds", "1"),
    "bench_cells": ("--cells", "pointwise", *DEMO),
    "bench_driver": ("--trials", "50"),
    "bench_intervals": ("--rounds", "2"),
    "bench_journal": ("--trials", "50"),
    "bench_loader": ("--samples", "2"),
    "bench_proposals": ("--trials", "50"),
    "bench_report": ("--trials", "50"),
    "bench_rivals": ("--trials", "10", "--workers", "2", "--landscapes", "2", "--algorithms", "uniform"),
    "bench_search": ("--trials", "2", "--rounds", "1", *DEMO),
    "bench_start": ("--rounds", "1"),
    "bench_step": ("--rounds", "1", "--sizes", "tiny", "--end-to-end", "tiny"),
    "bench_tracking": ("--trials", "20"),
}


def test_each_benchmark_is_known_here_with_what_makes_it_small():
    assert {path.stem for path in FOLDER.glob("bench_*.py")} == SMALLEST.keys()


def test_searches_of_one_landscape_count_once_in_an_interval_and_those_of_a_recorded_table_each():
    of_each_table = runpy.run_path(str(FOLDER / "defaults.py"))["of_each_table"]

    def counted(name):
        rows = [{"key": (name, "uniform", "asha", order), "hours": order} for order in range(0, 46, 2)]
        return of_each_table(rows, lambda row: row["hours"])

    assert counted("landscapes") == [16, 18, 20, 22, 24, 26, 28, 22]
    assert len(counted("recorded-5")) == 23


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs(name, tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *SMALLEST[name]],
        cwd=tmp_path,  # results go into outputs/
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
