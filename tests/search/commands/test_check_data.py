import json
import os

import numpy as np
import pytest
from PIL import Image

from data.datasets.folder import Folder
from data.datasets.palette import distinct_palette
from search.cli import main
from search.views.figures.contact_sheet import FREE, draw_contact_sheet

SIDE = 40


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    for split in ("train", "val"):
        for index in range(3):
            put(root, split, index, np.full((SIDE, SIDE), index, np.uint8))
    (root / "classes.txt").write_text("cat\ndog\nhouse\n")
    return root


def put(root, split, index, labels_HW):
    rng = np.random.default_rng([index, split == "val"])
    pictures = {"images": rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), "labels": labels_HW}
    for part, picture in pictures.items():
        (root / split / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / split / part / f"{split}{index}.png")


def dpc(command, folder, *overrides):
    return main([command, "dataset=folder", f"dataset.root={folder}", f"output_dir={folder.parent}", *overrides])


def test_a_healthy_data_set_is_reported_and_pictured(folder, capsys):
    assert dpc("check-data", folder) == 0
    printed = capsys.readouterr().out
    assert "train: 3 of 3 samples are whole, 40x40 pixels" in printed
    assert "dog                33.33        1  33.33        1" in printed
    assert "0 errors, 0 warnings" in printed
    report = json.loads((folder.parent / "check-folder" / "check.json").read_text())
    assert report["splits"]["val"]["class_pixels"] == {"cat": 1600, "dog": 1600, "house": 1600}
    with Image.open(folder.parent / "check-folder" / "contact_sheet.png") as picture:
        assert min(picture.size) > 300


def test_errors_end_with_code_1_and_a_search_refuses_them_in_one_line_that_names_the_command(folder, capsys):
    put(folder, "train", 1, np.full((SIDE, SIDE), 9, np.uint8))
    assert dpc("check-data", folder) == 1
    printed = capsys.readouterr().out
    assert "ERROR train, label out of range: 1 of 3 samples. Values: 9 (1,600 px)." in printed
    assert dpc("search", folder, "name=refused") == 2
    refused = capsys.readouterr().err
    assert "train1.png: label 9 at row 0, column 0 is out of range" in refused
    assert f"dpc check-data dataset=folder dataset.root={folder}" in refused
    assert refused.count("\n") == 1


def test_values_and_colours_are_given_their_meaning_on_the_command_line(folder, capsys):
    assert dpc("check-data", folder, "dataset.label_map={0:ignore,1:cat,2:house,255:dog}", "dataset.ignore_label=254") == 0
    assert "(ignored, of all)  33.33" in capsys.readouterr().out
    for split in ("train", "val"):
        for index, color in enumerate([(200, 0, 0), (0, 200, 0), (9, 9, 9)]):
            put(folder, split, index, np.full((SIDE, SIDE, 3), color, np.uint8))
    colors = "{cat:[200,0,0],traffic light:[0,200,0],ignore:[9,9,9]}"
    (folder / "classes.txt").unlink()
    assert dpc("check-data", folder, f"dataset.colors={colors}") == 0
    printed = capsys.readouterr().out
    assert "traffic light      50.00" in printed
    assert "(ignored, of all)  33.33" in printed


def test_masks_of_0_and_255_are_an_error_that_asks_whether_255_is_the_object(folder, capsys):
    for split in ("train", "val"):
        for index in range(3):
            put(folder, split, index, np.full((SIDE, SIDE), 255 * (index % 2), np.uint8))
    assert dpc("check-data", folder) == 1
    assert "ERROR train, one class: cat is the only class that is labelled" in capsys.readouterr().out
    assert dpc("search", folder, "name=refused") == 2
    refused = capsys.readouterr().err
    assert "search_train: cat is the only class that is labelled" in refused
    assert "is 255 your object?" in refused


def test_a_split_that_lacks_a_class_is_said_when_its_features_are_cached(folder, capsys):
    put(folder, "val", 2, np.full((SIDE, SIDE), 255, np.uint8))
    assert dpc("cache", folder, "splits=[train,val]") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning: val: no pixel is labelled house." in printed
    assert "is 255 your object?" in printed
    assert "Warning: train" not in printed


def test_padding_is_no_ignored_label_and_classes_are_called_as_they_are_now(folder, capsys):
    put(folder, "val", 2, np.full((SIDE, SIDE), 1, np.uint8))
    assert dpc("cache", folder, "splits=[val]") == 0
    (folder / "classes.txt").write_text("cat\ndog\nbarn\n")
    capsys.readouterr()
    assert dpc("cache", folder, "splits=[val]") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning: val: no pixel is labelled barn." in printed
    assert "is 255 your object?" not in printed


def test_an_image_in_two_splits_is_refused_by_its_pixels_when_its_features_are_cached(folder, capsys):
    with Image.open(folder / "train" / "images" / "train1.png") as image:
        image.save(folder / "val" / "images" / "val0.png", compress_level=0)
    assert dpc("cache", folder, "splits=[train,val]") == 2
    assert "folder, train, val: images in both: 1." in capsys.readouterr().err


def test_a_fold_that_could_not_score_a_cell_is_refused_and_so_is_one_image_in_two_of_them(folder, capsys):
    for index, labels in enumerate([0, 0, 1]):
        put(folder, "train", index, np.full((SIDE, SIDE), labels, np.uint8))
    assert dpc("cache", folder, "dataset.folds=2") == 2
    refused = capsys.readouterr().err
    assert "folder, fold 1 of train: cat is the only class that is labelled" in refused
    assert "Give fewer dataset.folds, or say by dataset.group which images belong together" in refused
    with Image.open(folder / "train" / "images" / "train2.png") as image:
        image.save(folder / "train" / "images" / "train0.png", compress_level=0)
    assert dpc("cache", folder, "dataset.folds=2") == 2
    assert "folder, fold 1, fold 2: images in both: 1." in capsys.readouterr().err


def test_file_names_that_are_no_text_are_shown_as_far_as_they_are(folder, capsys):
    (folder / "train" / "images" / "train2.png").write_bytes(b"")
    for old, new in {"train1.png": b"caf\xe9.png", "train2.png": b"\xff.png"}.items():
        for part in ("images", "labels"):
            (folder / "train" / part / old).rename(folder / "train" / part / os.fsdecode(new))
    assert dpc("check-data", folder) == 1
    assert "\ufffd.png: cannot be read as an image" in capsys.readouterr().out


def test_of_many_files_some_are_named_and_the_report_has_all(folder, capsys):
    for index in range(5):
        put(folder, "train", index, np.full((SIDE, SIDE), 9, np.uint8))
    assert dpc("check-data", folder) == 1
    assert "... and 2 more in check.json" in capsys.readouterr().out
    findings = json.loads((folder.parent / "check-folder" / "check.json").read_text())["findings"]
    assert [len(finding["examples"]) for finding in findings if finding["kind"] == "label out of range"] == [5]


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("splits=[]", "splits: at least one is needed, such as splits=[train,val]"),
        ("splits=[night]", "folder: no split 'night'; accepted are"),
        ("samples=0", "samples: must be at least 1, got 0"),
        ("workers=0", "workers: must be at least 1, got 0"),
    ],
)
def test_a_wrong_setting_is_one_line(override, complaint, folder, capsys):
    assert dpc("check-data", folder, override) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_the_contact_sheet_shows_each_class_in_its_colour_and_leaves_room_for_what_cannot_be_read(folder, tmp_path):
    put(folder, "train", 2, np.full((SIDE, SIDE), 255, np.uint8))
    (folder / "train" / "images" / "train1.png").write_bytes(b"")
    draw_contact_sheet(Folder(str(folder)), ["train"], 3, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        colours = {colour[:3] for _, colour in picture.getcolors(1 << 24)}
    assert {distinct_palette(3)[1], FREE[0]} <= colours  # in the legend


@pytest.mark.parametrize(
    ("classes", "ignored"),
    [
        ("a 255 255 255\nb 0 0 1\nc 0 1 0\n", FREE[1]),
        ("a 255 255 255\nb 255 0 255\nc 128 128 128\n", FREE[0]),
    ],
)
def test_ignored_pixels_have_a_colour_that_is_no_classs_where_one_is_free(folder, tmp_path, classes, ignored):
    (folder / "classes.txt").write_text(classes)
    draw_contact_sheet(Folder(str(folder)), ["train"], 1, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        colours = {colour[:3] for _, colour in picture.getcolors(1 << 24)}
    assert ignored in colours
