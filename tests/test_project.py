"""What holds for the project as a whole."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "ray", "mlflow", "hydra", "matplotlib", "timm", "albumentations")


@pytest.mark.parametrize(
    "module",
    [
        "models.spec",
        "models.cost",
        "search.space",
        "search.algorithms.near_best",
        "search.journal",
        "search.study",
        "search.tracking.follower",
        "training.score",
    ],
)
def test_the_pure_core_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"


def test_a_worker_that_waits_for_a_cell_has_not_loaded_torch():
    code = "import sys, search.tuning.trial; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "False"


def test_the_wheel_holds_every_config_and_the_page_of_reports(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    configs = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*") if path.is_file()}
    assert configs
    assert configs | {"search/reporting/page.html", "search/reporting/page.css"} <= held
