"""Which code a script has for its objective: its own text, what it uses of the script, and the files beside it."""

import linecache
import sys
from types import ModuleType

import pytest

from search.session.code_version import objective_code

SCRIPT = """
import dpc
from {near} import train

class Model:
    depth = 1

def score(cell):
    return Model.depth * train(cell)

def objective(cell, seed):
    "Not what search does."
    import {late}.of_folder
    yield score(cell)

def search():
    return dpc.search(dpc.CellSpace(), objective, trials=12)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The digest of the objective of a script, once some text in a file is replaced; what is beside lies in its folder."""
    near, late = (f"{name}_{tmp_path.name}" for name in ("near", "late"))
    script = tmp_path / "script.py"
    files = {
        "script": (script, SCRIPT.format(near=near, late=late)),
        "near": (tmp_path / f"{near}.py", "import math\ntrain = lambda cell: 1\n"),
        "late": (tmp_path / late / "of_folder.py", "rate = 1\n"),
    }
    monkeypatch.syspath_prepend(tmp_path)

    def digest(changed=None, old="", new=""):
        for name, (path, text) in files.items():
            assert name != changed or old in text
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace(old, new) if name == changed else text)
        linecache.checkcache()
        monkeypatch.delitem(sys.modules, near, raising=False)
        main = ModuleType("__main__")
        main.__file__ = str(script)
        monkeypatch.setitem(sys.modules, "__main__", main)
        exec(compile(script.read_text(), script, "exec"), vars(main))
        return objective_code(main.objective)

    return digest


@pytest.mark.parametrize(
    ("changed", "old", "new"),
    [
        ("script", "yield score(cell)", "yield score(cell) / 2"),
        ("script", "* train(cell)", "- train(cell)"),
        ("script", "depth = 1", "depth = 20"),
        ("near", "cell: 1", "cell: 0.5"),
        ("late", "rate = 1", "rate = 20"),
    ],
    ids=[
        "its text",
        "a function that it uses",
        "a class that this uses",
        "a module beside the script",
        "one that it imports late",
    ],
)
def test_what_an_objective_of_a_script_uses_counts(code, changed, old, new):
    assert code() == code() != code(changed, old, new)


def test_the_rest_of_a_script_does_not_count(code):
    assert code() == code("script", "trials=12", "trials=50")
