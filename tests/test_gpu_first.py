"""The script for a GPU that is lent for minutes must start at once: here on a CPU, without what such a machine lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import gpu_first

ABSENT = ("ray", "hydra", "mlflow", "segmentation_models_pytorch", "albumentations", "optuna", "sklearn")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, gpu_first.__file__, *arguments],
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


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [gpu_first.__file__])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="^2$"):
        gpu_first.main()
    assert "no CUDA device here" in capsys.readouterr().err
