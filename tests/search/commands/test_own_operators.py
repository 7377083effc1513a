"""A model whose cell has an operator of the user's own: what trains it can open it again, and so can the commands after it."""

import json
import sys
from unittest.mock import MagicMock

import pytest
from PIL import Image

from search.cli import main
from search.commands import retrain

from .conftest import TINY, dpc

MODULE = """
from dataclasses import dataclass

from torch import nn

from models.cost import operator_cost
from models.operators import build_operator
from models.spec import Conv1x1


@dataclass(frozen=True)
class Bottleneck:
    def to_json(self):
        return {"op": "bottleneck"}

    @classmethod
    def from_json(cls, entry):
        return cls() if entry.get("op") == "bottleneck" else None

    def __str__(self):
        return "bottleneck"


@dataclass(frozen=True)
class Family:
    def operators(self):
        return (Bottleneck(),)


@build_operator.register
def _(operator: Bottleneck, in_channels, settings):
    return nn.Conv2d(in_channels, settings.filters, 1)


@operator_cost.register
def _(operator: Bottleneck, *given):
    return operator_cost(Conv1x1(), *given)
"""
SPACE = ("space.num_branches=1", "+space.operators.mine._target_=users_operators.Family")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "users_operators.py").write_text(MODULE)
    (folder / "cell.json").write_text(json.dumps([{"op": "bottleneck", "input": -1}]))
    Image.new("RGB", (33, 17)).save(folder / "photo.png")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("users_operators")


@pytest.fixture(scope="module")
def model(place):
    """The folder that ``dpc retrain`` leaves, with its tracker aside."""
    tracked = MagicMock(refused=[])
    tracked.__enter__.return_value = tracked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrain, "RetrainRun", lambda *_, **__: tracked)
        done = dpc(place, "retrain", f"cell={place}/cell.json", *SPACE, *(s for s in TINY if s.startswith(("data", "train"))))
    assert done.returncode == 0, done
    (file,) = place.glob("shapes/retrain-*/model.safetensors")
    return file.parent


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_a_retrained_model_is_opened_by_every_command_that_is_told_its_space(command, model, place):
    made = place / command
    given = {
        "evaluate": ["dataset.num_val=1", f"json={made}.json"],
        "predict": [f"images={place}/photo.png", f"output={made}"],
        "export": ["format=torch", f"output={made}.pt2"],
    }[command]
    assert main([command, f"checkpoint={model}", *given, *SPACE]) == 0
    assert list(place.glob(f"{command}*"))


def test_without_its_space_it_is_refused_with_the_cure(model, place, capsys):
    assert main(["predict", f"checkpoint={model}", f"images={place}/photo.png", f"output={place}/none"]) == 2
    said = capsys.readouterr().err
    assert 'branch 0 has no known operator, got {"op": "bottleneck"' in said
    assert "operators of your own: space.operators, in Python operators=" in said
