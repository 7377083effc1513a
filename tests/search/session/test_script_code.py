"""Which code a script or notebook has for its objective: its own text, what it uses of the script, and the files beside it."""

import linecache
import sys
from types import ModuleType

import pytest

from data.system.errors import UserError
from search.session.code_version import objective_code

SCRIPT = """
from collections import namedtuple
from enum import Enum
import dpc
import torch
from {near} import train

EPOCHS = 4
CONFIG = dict(rate=1)
CONFIG["decay"] = 5
Kind = Enum("Kind", "plain wide")
Point = namedtuple("Point", "x y")

class Model:
    depth = 1

    @staticmethod
    def width():
        return 16

def score(cell):
    return Model.depth * train(cell) * CONFIG["rate"]

def objective(cell, seed):
    "Not what search does."
    import {late}.of_folder
    torch.manual_seed(seed)
    study = Point(EPOCHS, Kind.wide)
    yield Model.width() * score(cell)

def search():
    return dpc.search(dpc.CellSpace(), objective, trials=12)

if __name__ == "__main__":
    study = [search, 12]
"""


@pytest.fixture(params=["script", "notebook"])
def code(request, tmp_path, monkeypatch):
    """The digest of a script's or notebook's objective, once text in a file is replaced. What is beside is in its folder."""
    near, late = (f"{name}_{tmp_path.name}" for name in ("near", "late"))
    script = tmp_path / "script.py"
    files = {
        "script": (script, SCRIPT.format(near=near, late=late)),
        "near": (tmp_path / f"{near}.py", "import math\ntrain = lambda cell: 1\n"),
        "late": (tmp_path / late / "of_folder.py", "rate = 1\n"),
    }
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def digest(changed=None, old="", new=""):
        for name, (path, text) in files.items():
            assert name != changed or old in text
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace(old, new) if name == changed else text)
        linecache.checkcache()
        monkeypatch.delitem(sys.modules, near, raising=False)
        main, text, place = ModuleType("__main__"), script.read_text(), str(script)
        if request.param == "script":
            main.__file__ = place
        else:
            place = "<a cell>"
            monkeypatch.setitem(linecache.cache, place, (len(text), None, text.splitlines(keepends=True), place))
        monkeypatch.setitem(sys.modules, "__main__", main)
        exec(compile(text, place, "exec"), vars(main))
        return objective_code(main.objective)

    return digest


@pytest.mark.parametrize(
    ("changed", "old", "new"),
    [
        ("script", "yield Model", "yield 2 * Model"),
        ("script", "* train(cell)", "- train(cell)"),
        ("script", "depth = 1", "depth = 20"),
        ("script", "return 16", "return 32"),
        ("script", "EPOCHS = 4", "EPOCHS = 5"),
        ("script", "rate=1", "rate=2"),
        ("script", '"decay"] = 5', '"decay"] = 6'),
        ("script", "plain wide", "plain dense wide"),
        ("script", '"x y"', '"x y z"'),
        ("near", "cell: 1", "cell: 0.5"),
        ("late", "rate = 1", "rate = 20"),
    ],
    ids=[
        "its text",
        "a function that it uses",
        "a class that this uses",
        "a method of that",
        "a constant",
        "one that is a mapping",
        "an entry that is added to it",
        "an enumeration that has no text of its own",
        "a named tuple that has none",
        "a module beside the script",
        "one that it imports late",
    ],
)
def test_what_an_objective_of_a_script_uses_counts(code, changed, old, new):
    assert code() == code() != code(changed, old, new)


def test_the_rest_of_a_script_does_not_count(code):
    assert code() == code("script", "12", "50")


def test_what_was_typed_at_a_prompt_is_refused(monkeypatch):
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile("def objective(cell, seed): yield 0.5", "<stdin>", "exec"), vars(main))
    with pytest.raises(UserError, match="objective: its source cannot be read; define objective in a file"):
        objective_code(main.objective)
