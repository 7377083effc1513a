"""The GPU benchmark must start on a machine that is lent for an hour: here on a CPU, without what such a machine lacks."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_trial.py"
ABSENT = ("ray", "hydra", "mlflow", "segmentation_models_pytorch", "albumentations", "optuna", "sklearn", "safetensors")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_times_steps_and_packs_trials_with_torch_and_numpy_alone(tmp_path):
    for name in ABSENT:
        (tmp_path / f"{name}.py").write_text("raise ImportError('not on a GPU machine')\n")
    options = ("--device", "cpu", "--features", "3", "--steps", "1", "--cells", "1", "--pack", "1", "2")
    done = run(*options, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "dpc_top1    fused" in done.stdout
    assert "2 trials at once:" in done.stdout


def test_without_a_gpu_it_says_so():
    done = run(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "no CUDA device here" in done.stderr
