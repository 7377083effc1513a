"""The notebooks run, and print what is stored in them."""

import json
import sys

import pytest

from tests.docs.told_to_bash import ROOT

sys.path.insert(0, str(ROOT / "docs" / "_site"))
from run_notebooks import NOTEBOOKS, executed


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_notebook_prints_what_is_stored_in_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((NOTEBOOKS / name).read_text())
    cells = list(executed(notebook))
    assert len(cells) >= 5
    for cell, outputs in cells:
        assert [kind(output) for output in outputs] == [kind(output) for output in cell["outputs"]], "".join(cell["source"])


def kind(output):
    """What is printed; of a picture, that it is one: pixels differ between versions of matplotlib."""
    return "".join(output["text"]) if "text" in output else list(output["data"])
