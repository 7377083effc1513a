"""``dpc evaluate``: its table, JSON and picture."""

import json

import pytest
import torch
from PIL import Image

from data.datasets.pascal import PERSON_PART
from data.datasets.shapes import Shapes
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import Branch, CellSpec, Conv1x1
from search.cli import main
from search.views.figures.confusion import draw_confusion
from training.evaluation import evaluate
from training.metrics import ConfusionMatrix

CELL = CellSpec((Branch(-1, Conv1x1()),))
SHAPES = Shapes(num_train=1, num_val=2)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    names = list(SHAPES.info.class_names)
    folder = tmp_path_factory.mktemp("model")
    model = Segmenter(CELL, len(names), BackboneSettings("local"), CellSettings(filters=8), class_names=names)
    model.save_pretrained(folder)
    return folder


def test_the_table_the_json_and_the_picture_say_the_same(checkpoint, tmp_path, capsys):
    files = [f"json={tmp_path}/new/scores.json", f"picture={tmp_path}/new/scores.png"]
    assert main(["evaluate", f"checkpoint={checkpoint}", "dataset.num_val=2", *files]) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "new" / "scores.json").read_text())
    scores = evaluate(Segmenter.from_pretrained(checkpoint), SHAPES.split("val"), SHAPES.info)
    assert (record["miou"], record["pixel_accuracy"], record["iou"]) == (scores.miou, scores.pixel_accuracy, scores.iou)
    assert (record["split"], record["checkpoint"], record["inference"]["scales"]) == ("val", str(checkpoint), [1.0])
    assert record["confusion"]["classes"] == list(SHAPES.info.class_names)
    pixels = torch.tensor(record["confusion"]["pixels"])
    assert pixels.sum() == 2 * 321 * 321
    assert pixels.diagonal().sum() / pixels.sum() == pytest.approx(scores.pixel_accuracy)
    assert f"{100 * scores.miou:.2f}" in printed
    assert all(name in printed for name in SHAPES.info.class_names)
    with Image.open(tmp_path / "new" / "scores.png") as picture:
        assert min(picture.size) > 600


def test_the_papers_inference_is_a_choice(checkpoint, tmp_path):
    given = [f"checkpoint={checkpoint}", "dataset.num_val=1", "inference=multi_scale", f"json={tmp_path}/scores.json"]
    assert main(["evaluate", *given]) == 0
    inference = json.loads((tmp_path / "scores.json").read_text())["inference"]
    assert (inference["scales"], inference["flip"]) == ([0.5, 0.75, 1.0, 1.25, 1.5, 1.75], True)


def test_a_model_of_as_many_other_classes_is_refused(checkpoint, tmp_path, capsys):
    model = Segmenter.from_pretrained(checkpoint)
    model.class_names = list(PERSON_PART.class_names)
    model.save_pretrained(tmp_path)
    assert main(["evaluate", f"checkpoint={tmp_path}", "dataset.num_val=1"]) == 2
    assert "checkpoint: class 1 of the model is 'head', of shapes" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_before_the_work(checkpoint, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["evaluate", f"checkpoint={checkpoint}", f"json={tmp_path}/file/scores.json"]) == 2
    assert "scoring" not in (said := capsys.readouterr()).out
    assert f"{tmp_path}/file" in said.err


@pytest.mark.parametrize("num_classes", [2, 11, 19, 40])
def test_the_picture_has_room_for_every_class_and_for_those_that_do_not_occur(num_classes, tmp_path):
    matrix = ConfusionMatrix(num_classes, ignore_label=255)
    matrix.counts_KK[0, 0] = 70
    matrix.counts_KK[0, 1] = 30
    draw_confusion(matrix, [f"class ${index}_x$" for index in range(num_classes)], tmp_path / "picture.png", "100 $ title")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.height > 60 * num_classes
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10


def test_a_split_whose_labels_are_kept_is_refused_before_any_image_is_labelled(checkpoint, tmp_path, capsys):
    image = tmp_path / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png"
    image.parent.mkdir(parents=True)
    Image.new("RGB", (33, 17)).save(image)
    given = ["dataset=cityscapes", f"dataset.root={tmp_path}", "split=test"]
    assert main(["evaluate", f"checkpoint={checkpoint}", *given]) == 2
    assert "split: test of cityscapes comes without labels. `dpc predict submission=...` writes" in capsys.readouterr().err
