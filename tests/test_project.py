"""What holds for the project as a whole."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "ray", "mlflow", "hydra", "matplotlib", "timm", "albumentations")


@pytest.mark.parametrize(
    "module",
    [
        "models.spec",
        "models.cost",
        "search.deciding.space",
        "search.deciding.algorithms.near_best",
        "search.journal.journal",
        "search.journal.study",
        "search.tracking.follower",
        "training.score",
    ],
)
def test_the_pure_core_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"


def test_a_worker_that_waits_for_a_cell_has_not_loaded_torch():
    code = "import sys, search.running.trial; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "False"


def test_every_setting_is_read_without_anything_heavy():
    targets = {
        target for file in (ROOT / "conf").rglob("*.yaml") for target in re.findall(r"_target_: (\S+)", file.read_text())
    }
    modules = sorted({target.rpartition(".")[0] for target in targets})
    assert {"models.settings", "training.settings", "data.cache.settings", "data.datasets.pascal"} <= set(modules)
    assert loaded_by(modules) & {*HEAVY, "segmentation_models_pytorch", "torchvision"} == set()


def test_what_a_worker_and_a_driver_import_waits_at_the_doors_of_heavy_packages():
    files = (file.relative_to(ROOT) for floor in ("models", "data", "training") for file in (ROOT / floor).rglob("*.py"))
    modules = [
        ".".join(file.with_suffix("").parts) for file in files if file.stem != "__init__" and "kernels" not in file.parts
    ]
    assert "training.proxy" in modules
    modules.remove("training.distributed")  # Ray Train's door
    heavy = {*HEAVY, "segmentation_models_pytorch", "torchvision", "torch._dynamo", "scipy"}
    assert loaded_by(modules) & heavy == {"torch"}


def loaded_by(modules):
    code = f"import sys; from importlib import import_module; [import_module(m) for m in {modules!r}]; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


def test_the_wheel_holds_every_config_the_page_of_reports_and_the_types(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    configs = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*") if path.is_file()}
    assert configs
    assert configs | {"search/views/report/page.html", "search/views/report/page.css"} <= held
    typed = {f"{package}/py.typed" for package in ("dpc", "search", "cluster", "training", "models", "data")}
    assert typed | {"dpc/__init__.pyi"} <= held


def test_every_package_that_is_imported_is_declared_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        plain(re.match(r"[\w.-]+", one)[0]) for one in (*project["dependencies"], *project["optional-dependencies"]["export"])
    }
    pinned = {plain(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    distributions = packages_distributions()
    undeclared = {
        package: names
        for package in imported() - {"IPython", "triton"}  # a notebook brings the one, torch the other where there are GPUs
        if not (names := {plain(name) for name in distributions[package]}) & declared
    }
    assert undeclared == {}
    assert declared <= pinned


def imported():
    """Top-level names of other projects' packages that the shipped code imports, wherever it does."""
    shipped = ("dpc", "search", "cluster", "training", "models", "data")
    nodes = [
        node for floor in shipped for file in (ROOT / floor).rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names} - {*shipped, *sys.stdlib_module_names}


def plain(name):
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        ({"name": "a", "version": "1", "vulns": []}, 0, "0 of 1 dependencies are known to be vulnerable"),
        ({"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}, 1, "a 1: PYSEC-1 (fixed in 2)"),
        ({"name": "a", "skip_reason": "not found"}, 0, "skipped, no database of vulnerabilities answers here"),
    ],
)
def test_a_known_vulnerability_fails_lint_and_a_missing_data_base_is_said(tmp_path, answer, code, line):
    stand_in = f"print({json.dumps({'dependencies': [answer]})!r})"
    (tmp_path / "pip_audit.py").write_text(stand_in)
    command = [sys.executable, str(ROOT / ".ci" / "audit")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    assert line in done.stdout
