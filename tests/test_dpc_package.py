"""``import dpc`` and the command ``dpc`` in a folder that has packages of the same names as this project's."""

import os
import subprocess
import sys

import pytest

import dpc

HIDING = ("models", "data", "search", "training")


@pytest.fixture
def folder(tmp_path):
    for name in HIDING:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('the {name} of the folder')")
    return tmp_path


def python(folder, code, *arguments):
    """A process in the folder, whose packages come first; this project's lie behind them."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(dpc.ROOT)])}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_public_names_are_this_projects_whatever_lies_in_the_folder(folder):
    said = python(folder, "import dpc; print(dpc.CellSpec, dpc.FeatureShape)")
    assert said.stdout == "<class 'models.spec.CellSpec'> <class 'models.cost.FeatureShape'>\n", said.stderr


def test_the_command_finds_this_projects_packages_whatever_lies_in_the_folder(folder):
    said = python(folder, "import sys; from dpc.__main__ import main; sys.exit(main())", "cell", "--cfg")
    assert said.returncode == 0, said.stderr
    assert "cell: dpc_top1" in said.stdout


def test_a_package_that_is_loaded_already_is_named(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "models", type(sys)("models"))
    sys.modules["models"].__file__ = str(folder / "models" / "__init__.py")
    with pytest.raises(ImportError, match="its package 'models' is hidden by .*models/__init__.py, which is loaded already"):
        dpc.load("models.spec")


def test_every_public_name_is_there_and_others_are_told_which_are():
    assert all(getattr(dpc, name).__name__ == name for name in dir(dpc))
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'; it has BackboneSettings, "):
        _ = dpc.Segmentor
