"""``dpc export``: what it prints and refuses."""

import pytest
import torch

from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import Branch, CellSpec, Conv1x1
from search.cli import main

CELL = CellSpec((Branch(-1, Conv1x1()),))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = Segmenter(CELL, 2, BackboneSettings("local"), CellSettings(filters=8), class_names=["sky", "road"])
    model.save_pretrained(folder)
    return folder


def test_it_says_what_the_file_takes_and_gives_and_how_it_compares(checkpoint, tmp_path, capsys):
    path = tmp_path / "new" / "model.pt2"
    assert main(["export", f"checkpoint={checkpoint}", "format=torch", f"output={path}"]) == 0
    printed = capsys.readouterr().out
    assert "float32 RGB of 0 to 255: (batch, 3, height, width)" in printed
    assert "0 sky; 1 road" in printed
    assert "12 random batches: largest difference" in printed
    assert torch.export.load(path).module()(torch.zeros(1, 3, 20, 30)).shape == (1, 2, 20, 30)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["checkpoint=/nowhere"], "no model in /nowhere"),
        (["format=tflite"], "format: accepted are onnx and torch, got 'tflite'"),
        (["format=torch", "height_px=65"], "height_px and width_px: give both, or none"),
        (["format=torch", "output={tmp}"], "output: must be a file"),
        (["format=torch", "output={tmp}/file/model.pt2"], "file"),
        (["format=torch", "output={model}/model.safetensors"], "model.safetensors is there and was not made by dpc export"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(overrides, complaint, checkpoint, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    given = {"checkpoint": str(checkpoint), "output": f"{tmp_path}/model"}
    given |= dict(o.replace("{tmp}", str(tmp_path)).replace("{model}", str(checkpoint)).split("=", 1) for o in overrides)
    assert main(["export", *(f"{key}={value}" for key, value in given.items())]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
