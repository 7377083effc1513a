"""What `dpc --version` prints: of this project and of all that its results may depend on. Nothing of it is imported."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from search.conf_files import CONF

_PACKAGES = (
    "torch",
    "nvidia-cuda-runtime",
    "triton",
    "ray",
    "mlflow",
    "hydra-core",
    "numpy",
    "timm",
    "segmentation-models-pytorch",
    "albumentations",
    "opencv-python-headless",
    "optuna",
    "scikit-learn",
    "pyarrow",
    "safetensors",
    "onnx",
    "onnxruntime",
)
_DRIVER = Path("/proc/driver/nvidia/version")


def versions() -> str:
    """A line for each, this project's first."""
    lines = {
        "dpc-search": " ".join(filter(None, (_version("dpc-search"), _commit()))),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "nvidia driver": _driver(),
        **{name: _version(name) for name in _PACKAGES},
    }
    return "\n".join(f"{name:<29}{text}" for name, text in lines.items())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Of the checkout that runs, and whether it was changed since; nothing where it is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=CONF.parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    is_ours = done.returncode == 0 and (CONF.parent / ".git").exists()
    return f"(commit {done.stdout.strip()})" if is_ours else ""


def _driver() -> str:
    first = _DRIVER.read_text().splitlines()[0] if _DRIVER.is_file() else "none"
    return first.removeprefix("NVRM version: ")
