"""The script for a GPU that is lent for minutes must start at once: here on a CPU, without what such a machine lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_first.py"
ABSENT = ("ray", "hydra", "mlflow", "segmentation_models_pytorch", "albumentations", "optuna", "sklearn")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_stage_writes_what_it_finds_without_the_packages_of_the_search(tmp_path):
    for name in ABSENT:
        (tmp_path / f"{name}.py").write_text("raise ImportError('not on a GPU machine')\n")
    stages = ("step", "packing", "search")
    done = run(
        *("--device", "cpu", "--tiny", "--seconds", "600", "--out", tmp_path, "--stages", *stages), PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert "not finished" not in done.stdout
    found = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {entry["stage"] for entry in found} == set(stages)
    assert not [entry for entry in found if entry["what"] == "exception"]


def test_an_exception_and_a_stage_without_time_are_told_and_do_not_end_the_others(tmp_path):
    done = run("--device", "cpu", "--tiny", "--seconds", "0.1", "--out", tmp_path, "--stages", "step", "search")
    assert done.returncode == 0
    assert "not finished: step (out of time)" in done.stdout


def test_without_a_gpu_it_says_so():
    done = run(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "no CUDA device here" in done.stderr
