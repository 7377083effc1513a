"""``import dpc`` and the command ``dpc`` in a folder that has packages of the same names as this project's."""

import os
import re
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
        _ = dpc.CellSpec


def test_every_public_name_is_there_explained_and_in_the_help_and_others_are_told_which_are():
    defined = set(dir(dpc)) - {"Event"}  # a union has neither
    assert all(getattr(dpc, name).__name__ == name and getattr(dpc, name).__doc__ for name in defined)
    overview = set(re.findall(r"\w+", dpc.__doc__))
    assert set(dir(dpc)) <= overview
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'; it has Algorithm, "):
        _ = dpc.Segmentor


def test_neither_the_package_nor_a_study_that_is_asked_and_told_loads_torch_or_ray(tmp_path):
    code = """
import sys, dpc
assert not {"models", "search"} & {*sys.modules}
space = dpc.CellSpace(2, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 6])})
with dpc.study(space, trials=2, output_dir=sys.argv[1]) as study:
    while asked := study.ask():
        study.tell(asked, 0.5)
assert len(dpc.leaderboard(dpc.load(sys.argv[1] + "/default"))) == 2
print({"torch", "ray", "mlflow", "matplotlib"} & {*sys.modules})
"""
    said = python(tmp_path, code, str(tmp_path / "out"))
    assert said.stdout == "set()\n", said.stderr


def test_a_folder_of_that_name_without_an_init_is_named_too(monkeypatch, tmp_path):
    package = type(sys)("models")
    package.__path__ = [str(tmp_path / "models")]
    monkeypatch.setitem(sys.modules, "models", package)
    with pytest.raises(ImportError, match="its package 'models' is hidden by .*/models, which is loaded already"):
        _ = dpc.CellSpec
