"""docs/python.md: each piece of Python runs as it stands, after those before it."""

import re

import pytest

import dpc


@pytest.mark.usefixtures("without_ray")
def test_every_piece_of_python_in_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.session.scoring.objective_code", lambda objective: "as it stands in the guide")
    pieces = re.findall(r"```python\n(.*?)```", (dpc.ROOT / "docs" / "python.md").read_text(), re.S)
    assert len(pieces) >= 7
    names = {"__name__": "guide"}
    for piece in pieces:
        exec(piece, names)
    assert dpc.load("outputs/mine").closed
    assert dpc.load("outputs/called").num_ended < 12
