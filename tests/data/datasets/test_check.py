import ast
import os
import random
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data.datasets import check as check_module
from data.datasets.check import IN_PROCESS, _apart, check_dataset, shared_images
from data.datasets.contract import DatasetError, palette_of
from data.datasets.folder import Folder
from data.digests import FileDigests

SIDE = 24
CLASSES = ("cat", "dog", "house")


def put(root, split, name, labels_HW, image_seed=None):
    """A pair; its image is noise of a seed of its own."""
    for part in ("images", "labels"):
        (root / split / part).mkdir(parents=True, exist_ok=True)
    seed = f"{split} {name}" if image_seed is None else image_seed
    pixels = np.frombuffer(random.Random(seed).randbytes(SIDE * SIDE * 3), np.uint8).reshape(SIDE, SIDE, 3)
    Image.fromarray(pixels).save(root / split / "images" / f"{name}.png")
    if isinstance(labels_HW, np.ndarray):
        Image.fromarray(labels_HW).save(root / split / "labels" / f"{name}.png")
    else:
        (root / split / "labels" / f"{name}.png").write_bytes(labels_HW)


def thirds():
    return np.repeat(np.arange(3, dtype=np.uint8), SIDE // 3)[None].repeat(SIDE, axis=0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    for split, names in {"train": "abcd", "val": "ef"}.items():
        for name in names:
            put(tmp_path, split, name, thirds())
    return tmp_path


def check(folder, splits=("train", "val"), **arguments):
    return check_dataset(Folder(str(folder)), splits, **arguments)


def the_one(report, kind):
    [finding] = [finding for finding in report.findings if finding.kind == kind]
    return finding


def test_a_healthy_data_set_is_counted_and_has_no_finding(folder):
    told = []
    report = check(folder, progress=lambda done, total: told.append((done, total)))
    assert report.findings == []
    assert told == [(n, 6) for n in range(1, 7)]
    train = report.splits["train"]
    assert (train.num_samples, train.num_readable, train.sizes) == (4, 4, {"24x24": 4})
    assert train.class_pixels == {"cat": 4 * 192, "dog": 4 * 192, "house": 4 * 192}
    assert train.class_samples == {"cat": 4, "dog": 4, "house": 4}
    assert (train.ignored_pixels, train.num_labelled) == (0, 4 * 576)


@pytest.mark.parametrize(
    ("labels", "kind", "text"),
    [
        (b"", "unreadable file", "cannot be read as an image"),
        (thirds()[:, :-1], "size mismatch", "labels are 23x24 pixels, the image 24x24"),
        (np.zeros((SIDE, SIDE, 3), np.uint8), "label format", "one channel of 8-bit class ids"),
        (thirds() + 1, "label out of range", "label 3 at row 0, column 16"),
    ],
    ids=["empty", "size", "RGB", "range"],
)
def test_every_damaged_sample_is_counted_by_what_is_wrong_and_all_are_named(labels, kind, text, folder):
    for name in "ac":
        put(folder, "train", name, labels)
    report = check(folder)
    finding = the_one(report, kind)
    assert (finding.level, finding.split) == ("error", "train")
    assert finding.text.startswith("2 of 4 samples.")
    assert len(finding.examples) == 2
    for name, example in zip("ac", finding.examples, strict=True):
        assert text in example
        assert f"{name}.png" in example
    assert report.splits["train"].num_readable == 2


def greys():
    """A colour mask in VOC's colours, converted to grey."""
    return np.array(Image.fromarray(np.array(palette_of(3), np.uint8)[thirds()]).convert("L"))


@pytest.mark.parametrize(
    ("labels", "explanation"),
    [
        (greys(), "They are the grey levels of the classes' colours"),
        (thirds() + 1, "Do ids start from 1, or is 3 the label to ignore?"),
        (thirds() * 127, "They are multiples of 127: were ids spread out to be seen?"),
        (np.where(thirds() == 2, 253, thirds()).astype(np.uint8), "Values: 253 (192 px)."),
    ],
    ids=["greys of colours", "ids from 1", "spread out", "unexplained"],
)
def test_labels_out_of_range_are_listed_with_their_pixels_and_explained_where_that_is_possible(labels, explanation, folder):
    put(folder, "train", "b", labels)
    assert explanation in the_one(check(folder), "label out of range").text


def test_labels_of_255_with_another_ignore_label_raise_the_question(folder):
    put(folder, "train", "b", np.where(thirds() == 2, 255, thirds()).astype(np.uint8))
    report = check_dataset(Folder(str(folder), ignore_label=3), ["train"])
    assert the_one(report, "label out of range").text.endswith(
        "Is 255 the label to ignore? dataset=folder reads any values by dataset.label_map, such as {0:ignore,1:cat}."
    )


def test_an_image_of_train_that_is_in_val_too_is_an_error_under_any_name(folder):
    put(folder, "val", "e", thirds(), image_seed="train c")
    report = check(folder)
    leak = the_one(report, "leak")
    assert (leak.level, leak.split, leak.examples) == ("error", "train, val", ["c of train = e of val"])
    dataset = Folder(str(folder))
    [quick] = shared_images({name: dataset.split(name).image_digests(FileDigests()) for name in ("train", "val")})
    assert quick.examples == ["#2 of train = #0 of val"]


def photograph(seed, side_px):
    """Soft shapes, as photographs have them: the same at every size."""
    few = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(few).resize((96, 96), Image.Resampling.BICUBIC).resize((side_px, side_px), Image.Resampling.BOX)


def test_images_of_train_that_were_encoded_again_or_resized_for_val_are_warned_of_with_both_names(folder):
    for split, name, seed, side_px, suffix in [
        ("train", "g", 1, 96, "png"),
        ("train", "h", 2, 96, "png"),
        ("train", "other", 3, 96, "png"),
        ("val", "i", 1, 96, "jpg"),
        ("val", "j", 2, 48, "png"),
    ]:
        put(folder, split, name, np.zeros((side_px, side_px), np.uint8))
        (folder / split / "images" / f"{name}.png").unlink()
        photograph(seed, side_px).save(folder / split / "images" / f"{name}.{suffix}")
    report = check(folder)
    copies = the_one(report, "copies")
    assert (copies.level, copies.split) == ("warning", "train, val")
    assert copies.examples == ["g of train ~ i of val", "h of train ~ j of val"]
    assert not report.errors


def test_blank_images_are_no_copies_of_each_other(folder):
    for split, name, grey in (("train", "g", 10), ("val", "h", 11)):
        put(folder, split, name, thirds())
        Image.new("RGB", (SIDE, SIDE), (grey, grey, grey)).save(folder / split / "images" / f"{name}.png")
    assert check(folder).findings == []


def test_parts_of_the_official_splits_share_images_with_them_rightly(folder):
    dataset = Folder(str(folder))
    report = check_dataset(dataset, ["train", "val", "search_train", "search_val"])
    assert not report.errors
    assert not shared_images(
        {name: dataset.split(name).image_digests(FileDigests()) for name in ("search_train", "search_val")}
    )


@pytest.mark.parametrize("own", ["search_train", "search_val"])
def test_what_a_search_of_ones_own_splits_learns_or_chooses_from_is_not_what_checks_it_in_the_end(folder, own):
    put(folder, "search_train", "a", thirds(), image_seed=50)
    put(folder, "search_val", "b", thirds(), image_seed=51)
    put(folder, own, "again", thirds(), image_seed=60)
    put(folder, "val", "same", thirds(), image_seed=60)
    report = check(folder, ("train", "val", "search_train", "search_val"))
    leak = the_one(report, "leak")
    assert (leak.level, leak.split, leak.examples) == ("error", f"{own}, val", [f"again of {own} = same of val"])


def test_doubles_equal_names_empty_classes_rare_ones_and_unlabelled_samples_are_warned_of(folder):
    put(folder, "train", "b", thirds(), image_seed="train a")
    put(folder, "val", "a", thirds())
    for name in "abcd":
        labels_HW = thirds() // 2 if name != "c" else np.full((SIDE, SIDE), 255, np.uint8)
        put(folder, "train", name, labels_HW, image_seed="train a" if name == "b" else None)
    report = check(folder)
    assert not report.errors
    assert the_one(report, "duplicates").examples == ["a = b"]
    assert the_one(report, "equal names").examples == ["a"]
    assert the_one(report, "empty class").text.startswith("no pixel is labelled house.")
    assert the_one(report, "nothing to learn").examples == ["c"]


def test_a_class_that_hardly_occurs_is_warned_of_with_its_share(folder, monkeypatch):
    monkeypatch.setattr("data.datasets.check.RARE", 0.01)
    for name in "abcd":
        labels_HW = np.zeros((SIDE, SIDE), np.uint8)
        labels_HW[:, 0] = 1
        labels_HW[0, 1] = 2 if name == "a" else 0
        put(folder, "train", name, labels_HW)
    assert the_one(check(folder), "rare class").text == "hardly any pixel is labelled house (0.0434 %)."


def test_a_split_without_labels_can_be_checked_but_is_an_error_where_scores_come_from(folder):
    for split in ("val", "night"):
        for name in "ef":
            put(folder, split, name, np.full((SIDE, SIDE), 255, np.uint8), image_seed=f"{split} {name}")
    report = check(folder, ["val", "night"])
    assert {(finding.split, finding.level) for finding in report.findings if finding.kind == "no labels"} == {
        ("val", "error"),
        ("night", "warning"),
    }


def test_objects_drawn_as_255_are_asked_about_because_the_only_class_left_scores_100_percent(folder):
    for name in "abcd":
        put(folder, "train", name, np.where(thirds() > 0, 255, 0).astype(np.uint8))
    finding = the_one(check(folder), "one class")
    assert (finding.level, finding.split) == ("error", "train")
    assert finding.text == (
        "cat is the only class that is labelled, so every score would be 100 %. 67 % of the pixels carry the ignore label 255: "
        "is 255 your object? Then dataset=folder reads it with dataset.label_map={0:cat,255:dog}."
    )
    mapped = check_dataset(Folder(str(folder), label_map={0: "cat", 255: "dog", 1: "dog", 2: "house"}), ["train"])
    assert not mapped.errors


def test_a_class_without_pixels_is_asked_about_where_many_are_ignored(folder):
    for name in "abcd":
        put(folder, "train", name, np.where(thirds() == 2, 255, thirds()).astype(np.uint8))
    finding = the_one(check(folder), "empty class")
    assert finding.level == "warning"
    assert finding.text.startswith(
        "no pixel is labelled house. 33 % of the pixels carry the ignore label 255: is 255 your object?"
    )


def test_images_that_exif_turns_are_counted_and_named_as_the_cause_where_the_turned_size_would_fit(folder):
    exif = Image.Exif()
    exif[274] = 6
    for name, size in {"a": (SIDE, SIDE), "b": (2 * SIDE, SIDE)}.items():
        Image.fromarray(np.full((*size, 3), ord(name), np.uint8)).save(folder / "train" / "images" / f"{name}.png", exif=exif)
    Image.fromarray(np.concatenate([thirds(), thirds()], axis=1)).save(folder / "train" / "labels" / "b.png")
    report = check(folder)
    assert the_one(report, "turned by EXIF").examples == ["a"]
    assert "If they were labelled as viewers show them, set dataset.upright=true" in the_one(report, "turned by EXIF").text
    [cause] = the_one(report, "size mismatch").examples
    assert cause.endswith(
        "labels are 48x24 pixels, the image 24x48; was it labelled turned as its EXIF says? "
        "dataset=folder reads it so with dataset.upright=true."
    )
    assert not check_dataset(Folder(str(folder), upright=True), ["train"]).findings


def test_a_colour_that_is_no_class_is_counted_with_its_pixels(folder):
    colors = {"cat": (255, 0, 0), "dog": (0, 255, 0), "house": (0, 0, 255)}
    for name in "abcd":
        painted = np.array([*colors.values(), (9, 9, 9)], np.uint8)[thirds() + (name == "a")]
        put(folder, "train", name, painted)
    report = check_dataset(Folder(str(folder), colors=colors), ["train"])
    finding = the_one(report, "label out of range")
    assert "Values: (9, 9, 9) (192 px). Each colour needs a class, or stands for ignore" in finding.text
    [example] = finding.examples
    assert (
        "a.png: colour (9, 9, 9) at row 0, column 16 belongs to no class; accepted are (0, 0, 255), (0, 255, 0), (255, 0, 0)"
        in example
    )
    assert report.splits["train"].class_pixels == {"cat": 3 * 192, "dog": 3 * 192, "house": 3 * 192}


def test_processes_find_the_same_as_one(folder):
    for index in range(IN_PROCESS):
        put(folder, "train", f"n{index:03d}", thirds() + (index % 9 == 0))
    put(folder, "train", "n005", b"no image")
    assert check(folder, workers=2).to_json() == check(folder).to_json()


def test_hostile_files_are_findings_and_hold_nothing_up(folder):
    for name, make in {"a": os.mkfifo, "b": lambda path: path.symlink_to(path), "c": os.mkdir}.items():
        path = folder / "train" / "images" / f"{name}.png"
        path.unlink()
        make(path)
    finding = the_one(check(folder), "unreadable file")
    assert finding.text.startswith("3 of 4 samples")
    assert [reason in example for reason, example in zip(("regular", "symbolic", "regular"), finding.examples, strict=True)]


def test_a_split_that_cannot_be_listed_at_all_is_an_error_of_its_own(folder):
    with pytest.raises(DatasetError, match="no split 'night'"):
        check(folder, ["night"])


class Named:
    """A split of another one's samples under other names."""

    def __init__(self, split, names):
        self._split, self._names = split, names
        self.warnings = ()

    def __len__(self):
        return len(self._split)

    def __getitem__(self, index):
        return replace(self._split[index], name=self._names[index])


def test_samples_of_one_name_hide_no_leak_and_no_difference(folder):
    put(folder, "val", "e", thirds(), image_seed="train a")
    data = Folder(str(folder))
    splits = {"train": Named(data.split("train"), ["0001"] * 4), "val": Named(data.split("val"), ["0001"] * 2)}
    report = check_dataset(SimpleNamespace(info=data.info, split=splits.get), ("train", "val"))
    assert the_one(report, "leak").examples == ["0001 of train = 0001 of val"]
    [across] = [finding for finding in report.findings if finding.kind == "equal names" and "," in finding.split]
    assert len(across.examples) == 3


def test_trainval_shares_nothing_with_test_and_rightly_all_with_its_parts():
    apart = set(_apart(dict.fromkeys(("train", "val", "trainval", "test"), ())))
    assert apart == {("train", "val"), ("train", "test"), ("val", "test"), ("trainval", "test")}


def test_docs_has_every_mistake_that_is_found_and_no_other():
    calls = [node for node in ast.walk(ast.parse(Path(check_module.__file__).read_text())) if isinstance(node, ast.Call)]
    findings = [call for call in calls if ast.unparse(call.func) == "Finding"]
    told = {node.value for call in findings for node in ast.walk(call.args[2]) if isinstance(node, ast.Constant)} - {0}
    told |= {error.kind for error in DatasetError.__subclasses__()} - {DatasetError.kind}
    table = (Path(__file__).parents[3] / "docs" / "data.md").read_text().partition("| mistake |")[2]
    columns = [line.split(" | ")[1] for line in table.splitlines() if line.count(" | ") == 2]
    named = {kind for column in columns for kind in re.split(r"; |, |: ", column)}
    documented = {kind for column in columns for kind in re.findall(r"(?:error|warning): ([\w ]+)", column)}
    assert told <= named
    assert documented <= told
