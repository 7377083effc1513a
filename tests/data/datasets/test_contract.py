import os
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data.datasets.camvid import CamVid
from data.datasets.cityscapes import PUBLISHED, Cityscapes
from data.datasets.contract import (
    SPLITS,
    DatasetError,
    DatasetInfo,
    LabelFormatError,
    LabelRangeError,
    SegmentationDataset,
    SizeMismatchError,
    UnreadableError,
    colorize,
    palette_of,
)
from data.datasets.folder import Folder
from data.datasets.image_files import SUFFIXES
from data.datasets.palette import distinct_palette
from data.datasets.pascal import PersonPart, Voc2012
from data.datasets.shapes import Shapes
from data.digests import FileDigests

WIDTH, HEIGHT = 20, 12
REAL_CAMVID = Path(__file__).parents[4] / "shared" / "data" / "camvid"


def write_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_labels(path, seed, values, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.random.default_rng(seed).choice(np.array(values, np.uint8), (HEIGHT, WIDTH)))
    if palette:
        picture = picture.convert("P")
        picture.putpalette([channel for colour in palette for channel in colour])
    picture.save(path)


def shuffled(items):
    """In an order of creation that sorts neither up nor down, as a file system would list them."""
    return random.Random(0).sample(items, len(items))


def write_camvid(root):
    frames = {"train": ["0001TP_1", "0006R0_2", "0006R0_3", "0016E5_4"], "val": ["0016E5_5", "0016E5_6"]}
    for split, names in frames.items():
        root.mkdir(exist_ok=True)
        (root / f"{split}.txt").write_text("".join(f"{split}/{name}.png {split}annot/{name}.png\n" for name in names))
        for name in names:
            write_image(root / split / f"{name}.png", int(name[-1]))
            write_labels(root / f"{split}annot" / f"{name}.png", int(name[-1]), range(12))


def write_cityscapes(root, suffix, values):
    for split, frames in {"train": ["aachen_0", "bochum_1", "ulm_2"], "val": ["lindau_3", "munster_4"]}.items():
        for name in shuffled(frames):
            city, seed = name.split("_")
            write_image(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", int(seed))
            write_labels(root / "gtFine" / split / city / f"{name}_gtFine_{suffix}.png", int(seed), values)


def write_voc(root, augmented):
    """VOC's lists and files; SBD holds one image of VOC's train, one of its val and two more."""
    devkit, sbd = root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset"
    lists = {"train": ["2007_1", "2008_2"], "val": ["2007_3", "2009_4"], "test": ["2010_5"]}
    lists["trainval"] = lists["train"] + lists["val"]
    for name, stems in lists.items():
        write_text(devkit / "ImageSets" / "Segmentation" / f"{name}.txt", "".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            write_image(devkit / "JPEGImages" / f"{stem}.jpg", int(stem[-1]))
            if name != "test":
                write_labels(devkit / "SegmentationClass" / f"{stem}.png", int(stem[-1]), (*range(21), 255), palette_of(256))
    if augmented:
        for name, stems in {"train": ["2007_1", "2008_6"], "val": ["2007_3", "2008_7"]}.items():
            write_text(sbd / f"{name}.txt", "".join(f"{stem}\n" for stem in stems))
            for stem in stems:
                write_image(devkit / "JPEGImages" / f"{stem}.jpg", int(stem[-1]))
                write_mat(sbd / "cls" / f"{stem}.mat", np.full((HEIGHT, WIDTH), int(stem[-1]), np.uint8))


def write_mat(path, labels_HW):
    """As SBD's: a struct GTcls of boundaries, labels and the categories that occur."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"Boundaries": np.zeros((20, 1)), "Segmentation": labels_HW, "CategoriesPresent": np.arange(2)}})


def write_person_part(root):
    parts = root / "pascal_person_part"
    for name, stems in {"train": ["2008_1", "2009_2"], "val": ["2010_3"]}.items():
        write_text(parts / "pascal_person_part_trainval_list" / f"{name}_id.txt", "".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            write_image(root / "VOCdevkit" / "VOC2010" / "JPEGImages" / f"{stem}.jpg", int(stem[-1]))
            write_labels(parts / "pascal_person_part_gt" / f"{stem}.png", int(stem[-1]), range(7))


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_folder(root):
    root.mkdir(exist_ok=True)
    (root / "classes.txt").write_text("cat\ndog\nhouse\n")
    for split, names in {"train": ["c", "a", "b"], "val": ["e", "d"]}.items():
        for name in shuffled(names):
            write_image(root / split / "images" / f"{name}.png", ord(name))
            write_labels(root / split / "labels" / f"{name}.png", ord(name), (0, 1, 2, 255))


@dataclass(frozen=True)
class Case:
    """A data set in its true layout: ``write`` makes the files, ``open`` what reads them."""

    name: str
    write: Callable[[Path], None]
    open: Callable[[Path], SegmentationDataset]
    sizes: tuple[int, int]
    size_px: tuple[int, int] = (HEIGHT, WIDTH)


ON_DISK = (
    Case("camvid", write_camvid, lambda root: CamVid(str(root)), (4, 2)),
    Case(
        "cityscapes labelIds",
        lambda root: write_cityscapes(root, "labelIds", range(34)),
        lambda root: Cityscapes(str(root)),
        (3, 2),
    ),
    Case(
        "cityscapes labelTrainIds",
        lambda root: write_cityscapes(root, "labelTrainIds", (*range(19), 255)),
        lambda root: Cityscapes(str(root)),
        (3, 2),
    ),
    Case("folder", write_folder, lambda root: Folder(str(root)), (3, 2)),
    Case("voc", lambda root: write_voc(root, False), lambda root: Voc2012(str(root), augmented=False), (2, 2)),
    Case("voc with SBD", lambda root: write_voc(root, True), lambda root: Voc2012(str(root)), (4, 2)),
    Case("person part", write_person_part, lambda root: PersonPart(str(root)), (2, 1)),
)
SHAPES = Case("shapes", lambda root: None, lambda root: Shapes(num_train=3, num_val=2), (3, 2), (321, 321))
each_dataset = pytest.mark.parametrize("case", [*ON_DISK, SHAPES], ids=lambda case: case.name)
each_dataset_on_disk = pytest.mark.parametrize("case", ON_DISK, ids=lambda case: case.name)


def made(case, root):
    case.write(root)
    return case.open(root)


def names_of(split):
    return [split[index].name for index in range(len(split))]


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@each_dataset
def test_the_four_splits_have_samples_with_names_of_their_own(case, tmp_path):
    dataset = made(case, tmp_path / "data")
    assert isinstance(dataset, SegmentationDataset)
    splits = {name: dataset.split(name) for name in SPLITS}
    assert (len(splits["train"]), len(splits["val"])) == case.sizes
    for split in splits.values():
        assert len(set(names_of(split))) == len(split) > 0
    assert not set(names_of(splits["search_train"])) & set(names_of(splits["search_val"]))
    assert not set(names_of(splits["train"])) & set(names_of(splits["val"]))


@each_dataset
@pytest.mark.parametrize("name", SPLITS)
def test_a_sample_is_an_rgb_image_with_labels_of_its_size_in_range_or_ignored(case, name, tmp_path):
    dataset = made(case, tmp_path / "data")
    split = dataset.split(name)
    for index in range(len(split)):
        sample = split[index]
        assert sample.image_HWC.shape == (*case.size_px, 3)
        assert sample.labels_HW.shape == case.size_px
        assert sample.image_HWC.dtype == sample.labels_HW.dtype == np.uint8
        assert set(np.unique(sample.labels_HW)) <= {*range(dataset.info.num_classes), dataset.info.ignore_label}


def test_frames_of_a_sequence_images_of_a_city_and_what_a_user_says_belong_together(tmp_path):
    write_camvid(tmp_path / "camvid")
    assert CamVid(str(tmp_path / "camvid")).split("train").groups == ["0001TP", "0006R0", "0006R0", "0016E5"]
    write_cityscapes(tmp_path / "city", "labelIds", range(34))
    assert Cityscapes(str(tmp_path / "city")).split("train").groups == ["aachen", "bochum", "ulm"]
    write_folder(tmp_path / "folder")
    assert Folder(str(tmp_path / "folder"), group="([ab]|c)").split("train").groups == ["a", "b", "c"]
    assert list(Folder(str(tmp_path / "folder")).split("train").groups) == []


def test_images_of_one_sub_folder_belong_together_where_a_users_pattern_is_of_paths(tmp_path):
    write_folder(tmp_path)
    for part in ("images", "labels"):
        for scene, names in {"rome": ("a", "b"), "oslo": ("c",)}.items():
            (tmp_path / "train" / part / scene).mkdir()
            for name in names:
                (tmp_path / "train" / part / f"{name}.png").rename(tmp_path / "train" / part / scene / f"{name}.png")
    assert Folder(str(tmp_path), group="([^/]+)/").split("train").groups == ["oslo", "rome", "rome"]
    assert Folder(str(tmp_path), group="([ab]|c)").split("train").groups == ["c", "a", "b"]
    (tmp_path / "train.txt").write_text("train/images/rome/a.png train/labels/rome/a.png\n")
    assert Folder(str(tmp_path), group=".+/([^/]+)/").split("train").groups == ["rome"]


def test_an_image_that_a_users_pattern_does_not_match_is_named(tmp_path):
    write_folder(tmp_path / "folder")
    with pytest.raises(ValueError, match=r"dataset.group: '\(\[ab\]\)' does not match the image 'c'"):
        Folder(str(tmp_path / "folder"), group="([ab])").split("train")
    for part in ("images", "labels"):
        (tmp_path / "folder" / "train" / part / "a_stray").mkdir()
        (tmp_path / "folder" / "train" / part / "c.png").rename(tmp_path / "folder" / "train" / part / "a_stray" / "c.png")
    with pytest.raises(ValueError, match="does not match the image 'c'"):  # its path would match, as all others' do
        Folder(str(tmp_path / "folder"), group="([ab])").split("train")


@each_dataset
def test_the_order_and_the_content_are_the_same_each_time(case, tmp_path):
    case.write(tmp_path / "data")
    first, again = (case.open(tmp_path / "data").split("train") for _ in range(2))
    assert names_of(first) == names_of(again) == sorted(names_of(first))
    for index in range(len(first)):
        np.testing.assert_array_equal(first[index].image_HWC, again[index].image_HWC)
        np.testing.assert_array_equal(first[index].labels_HW, again[index].labels_HW)
    assert first.fingerprint(FileDigests()) == again.fingerprint(FileDigests())


@each_dataset
def test_train_and_val_have_different_fingerprints(case, tmp_path):
    dataset = made(case, tmp_path / "data")
    assert dataset.split("train").fingerprint(FileDigests()) != dataset.split("val").fingerprint(FileDigests())


@each_dataset
def test_an_unknown_split_is_refused_with_the_accepted_ones(case, tmp_path):
    dataset = made(case, tmp_path / "data")
    with pytest.raises(DatasetError, match="no split 'nothing'; accepted are train, val, search_train, search_val") as caught:
        dataset.split("nothing")
    one_line(caught)


@each_dataset_on_disk
def test_the_fingerprint_does_not_change_when_the_data_set_is_moved(case, tmp_path):
    before = made(case, tmp_path / "data").split("train").fingerprint(FileDigests())
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert case.open(tmp_path / "elsewhere").split("train").fingerprint(FileDigests()) == before


@each_dataset_on_disk
@pytest.mark.parametrize("part", [0, 1], ids=["image", "labels"])
def test_the_fingerprint_changes_with_one_byte_of_an_image_or_a_label_map(case, part, tmp_path):
    split = made(case, tmp_path / "data").split("train")
    before = split.fingerprint(FileDigests())
    path = split.root / split.pairs[-1][part]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert case.open(tmp_path / "data").split("train").fingerprint(FileDigests()) != before


@each_dataset_on_disk
def test_a_missing_root_is_named_with_what_is_expected_there(case, tmp_path):
    with pytest.raises(DatasetError, match=rf"dataset.root: {tmp_path}/nowhere is not a folder; .* expects ") as caught:
        case.open(tmp_path / "nowhere").split("train")
    one_line(caught)


@each_dataset_on_disk
def test_an_empty_folder_is_named(case, tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)) as caught:
        case.open(tmp_path).split("train")
    one_line(caught)


@each_dataset_on_disk
@pytest.mark.parametrize("part", [0, 1], ids=["image", "labels"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.75])
def test_a_truncated_png_is_named(case, part, share, tmp_path):
    split = made(case, tmp_path / "data").split("train")
    path = split.root / split.pairs[1][part]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert split[0].name
    with pytest.raises(DatasetError, match=f"{path}: cannot be read as an image") as caught:
        split[1]
    one_line(caught)


@each_dataset_on_disk
@pytest.mark.parametrize("part", [0, 1], ids=["image", "labels"])
def test_a_missing_file_is_named_when_it_is_read_and_when_it_is_fingerprinted(case, part, tmp_path):
    split = made(case, tmp_path / "data").split("train")
    path = split.root / split.pairs[0][part]
    path.unlink()
    for use in (lambda: split[0], lambda: split.fingerprint(FileDigests())):
        with pytest.raises(DatasetError, match=str(path)) as caught:
            use()
        one_line(caught)


@each_dataset_on_disk
@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), r"one channel of 8-bit class ids, got shape \(12, 20, 3\)"),
        (np.full((HEIGHT, WIDTH), 256, np.uint16), "one channel of 8-bit class ids, got .* of uint16"),
        (np.zeros((WIDTH, HEIGHT), np.uint8), "labels are 12x20 pixels, the image 20x12"),
    ],
    ids=["RGB", "16 bits", "other size"],
)
def test_labels_of_another_form_are_refused(case, labels, complaint, tmp_path):
    split = made(case, tmp_path / "data").split("train")
    path = split.root / split.pairs[0][1]
    Image.fromarray(labels).save(path)
    with pytest.raises((LabelFormatError, SizeMismatchError), match=f"{path}: .*{complaint}") as caught:
        split[0]
    one_line(caught)


def test_labels_in_a_jpeg_are_refused(tmp_path):
    split = made(ON_DISK[0], tmp_path / "data").split("train")
    path = split.root / split.pairs[0][1]
    Image.new("L", (WIDTH, HEIGHT)).save(path, format="JPEG")
    with pytest.raises(LabelFormatError, match=f"{path}: labels must be PNG; JPEG blurs class ids"):
        split[0]


@pytest.mark.parametrize("case", [case for case in ON_DISK if case.name != "cityscapes labelIds"], ids=lambda case: case.name)
def test_a_label_out_of_range_is_named_with_its_place_and_the_accepted_values(case, tmp_path):
    dataset = made(case, tmp_path / "data")
    split = dataset.split("train")
    path = split.root / split.pairs[0][1]
    labels_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels_HW[7, 13:] = 77
    Image.fromarray(labels_HW).save(path)
    with pytest.raises(DatasetError, match=str(path)) as caught:
        split[0]
    last, ignore = dataset.info.num_classes - 1, dataset.info.ignore_label
    assert f"label 77 at row 7, column 13 is out of range; accepted are 0 to {last} and {ignore} (ignore)" in one_line(caught)


def test_a_label_map_with_a_palette_is_read_as_class_ids(tmp_path):
    split = made(ON_DISK[0], tmp_path / "data").split("train")
    expected_HW = split[0].labels_HW
    picture = Image.fromarray(expected_HW, mode="P")
    picture.putpalette([channel for colour in palette_of(12) for channel in colour])
    picture.save(split.root / split.pairs[0][1])
    np.testing.assert_array_equal(split[0].labels_HW, expected_HW)


# CamVid


def test_camvid_holds_out_one_whole_sequence_for_the_search(tmp_path):
    dataset = made(ON_DISK[0], tmp_path / "data")
    assert names_of(dataset.split("search_val")) == ["0006R0_2", "0006R0_3"]
    assert names_of(dataset.split("search_train")) == ["0001TP_1", "0016E5_4"]
    assert names_of(dataset.split("train")) == ["0001TP_1", "0006R0_2", "0006R0_3", "0016E5_4"]


@pytest.mark.parametrize("sequence", ["0016E", "nothing"])
def test_a_sequence_that_camvid_does_not_have_is_named(sequence, tmp_path):
    write_camvid(tmp_path / "data")
    with pytest.raises(DatasetError, match=f"'{sequence}' .dataset.holdout_sequence. leaves a split empty"):
        CamVid(str(tmp_path / "data"), sequence).split("search_val")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("\n")], ids=["missing", "empty"])
def test_a_list_file_of_camvid_that_is_missing_or_empty_is_named(damage, tmp_path):
    dataset = made(ON_DISK[0], tmp_path / "data")
    damage(tmp_path / "data" / "val.txt")
    assert len(dataset.split("train")) == 4
    with pytest.raises(DatasetError, match=f"{tmp_path}/data/val.txt: ") as caught:
        dataset.split("val")
    one_line(caught)


@pytest.mark.skipif(not REAL_CAMVID.is_dir(), reason=f"no CamVid at {REAL_CAMVID}")
def test_the_real_camvid_has_its_published_pairs_and_splits():
    dataset = CamVid(str(REAL_CAMVID))
    splits = {name: dataset.split(name) for name in SPLITS}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 367,
        "val": 101,
        "search_train": 266,
        "search_val": 101,
    }
    search = {*splits["search_train"].pairs, *splits["search_val"].pairs}
    assert search == set(splits["train"].pairs)
    assert {Path(image).name[:6] for image, _ in splits["search_val"].pairs} == {"0006R0"}
    for split in splits.values():
        sample = split[len(split) // 2]
        assert sample.image_HWC.shape == (360, 480, 3)
        assert len(np.unique(sample.labels_HW)) > 5


# Cityscapes

OFFICIAL_TRAIN_IDS = {
    "road": (7, 0),
    "sidewalk": (8, 1),
    "building": (11, 2),
    "wall": (12, 3),
    "fence": (13, 4),
    "pole": (17, 5),
    "traffic light": (19, 6),
    "traffic sign": (20, 7),
    "vegetation": (21, 8),
    "terrain": (22, 9),
    "sky": (23, 10),
    "person": (24, 11),
    "rider": (25, 12),
    "car": (26, 13),
    "truck": (27, 14),
    "bus": (28, 15),
    "train": (31, 16),
    "motorcycle": (32, 17),
    "bicycle": (33, 18),
}
"""Name: (id, train id) of cityscapesScripts' labels.py; every other id, the -1 of licence plates too, is ignored."""


def test_cityscapes_label_ids_become_the_official_train_ids(tmp_path):
    dataset = made(ON_DISK[1], tmp_path / "data")
    split = dataset.split("val")
    ids_HW = np.full((HEIGHT, WIDTH), 255, np.uint8)
    ids_HW.flat[:34] = range(34)
    Image.fromarray(ids_HW).save(split.root / split.pairs[0][1])
    official = dict(OFFICIAL_TRAIN_IDS.values())
    assert split[0].labels_HW.flat[:34].tolist() == [official.get(label_id, 255) for label_id in range(34)]
    assert (split[0].labels_HW.flat[34:] == 255).all()
    for name, (_, train_id) in OFFICIAL_TRAIN_IDS.items():
        assert dataset.info.class_names[train_id] == name


def test_cityscapes_train_ids_are_taken_as_they_are_and_preferred(tmp_path):
    write_cityscapes(tmp_path, "labelIds", [7])
    write_cityscapes(tmp_path, "labelTrainIds", [13])
    assert set(np.unique(Cityscapes(str(tmp_path)).split("train")[0].labels_HW)) == {13}


def test_a_label_id_that_cityscapes_does_not_have_is_refused(tmp_path):
    split = made(ON_DISK[1], tmp_path / "data").split("val")
    write_labels(split.root / split.pairs[0][1], 0, [77])
    with pytest.raises(LabelRangeError, match="label 77 at row 0, column 0 .* accepted are 0 to 33 and 255") as caught:
        split[0]
    assert caught.value.counts == {77: WIDTH * HEIGHT}


def test_cityscapes_test_has_images_whose_labels_are_all_ignored(tmp_path):
    write_image(tmp_path / "leftImg8bit" / "test" / "berlin" / "berlin_0_leftImg8bit.png", 0)
    split = Cityscapes(str(tmp_path)).split("test")
    assert set(np.unique(split[0].labels_HW)) == {255}


def test_coarse_labels_of_cityscapes_are_added_to_train_on_request(tmp_path):
    dataset = made(ON_DISK[1], tmp_path)
    write_image(tmp_path / "leftImg8bit" / "train_extra" / "bonn" / "bonn_0_leftImg8bit.png", 0)
    write_labels(tmp_path / "gtCoarse" / "train_extra" / "bonn" / "bonn_0_gtCoarse_labelIds.png", 0, [26])
    assert set(np.unique(dataset.split("train_extra")[0].labels_HW)) == {13}
    assert names_of(Cityscapes(str(tmp_path), coarse=True).split("train")) == [
        *names_of(dataset.split("train")),
        "bonn_0_leftImg8bit",
    ]


def test_cities_that_lack_images_are_named(tmp_path):
    [warning] = made(ON_DISK[1], tmp_path).split("val").warnings
    assert warning == ("val: 2 samples; 500 were published (frankfurt: 0 of 267, lindau: 1 of 59, munster: 1 of 174).")
    assert [sum(cities.values()) for cities in PUBLISHED.values()] == [2975, 500, 1525]


# PASCAL


def test_train_aug_is_vocs_train_and_what_sbd_adds_outside_of_val_with_vocs_labels_where_both_have_them(tmp_path):
    split = made(ON_DISK[5], tmp_path).split("train")
    assert names_of(split) == ["2007_1", "2008_2", "2008_6", "2008_7"]
    assert [Path(labels).suffix for _, labels in split.pairs] == [".png", ".png", ".mat", ".mat"]
    assert [np.unique(split[index].labels_HW).tolist() for index in (2, 3)] == [[6], [7]]


def test_voc_without_sbd_says_what_to_unpack(tmp_path):
    dataset = made(ON_DISK[4], tmp_path)
    assert len(dataset.split("trainval")) == 4
    assert set(np.unique(dataset.split("test")[0].labels_HW)) == {255}
    with pytest.raises(DatasetError, match="benchmark_RELEASE/dataset; unpack SBD's .* dataset.augmented=false") as caught:
        Voc2012(str(tmp_path)).split("train")
    one_line(caught)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file"], ids=["empty", "cut"])
def test_labels_of_sbd_that_cannot_be_read_are_named(content, tmp_path):
    split = made(ON_DISK[5], tmp_path).split("train")
    path = split.root / split.pairs[2][1]
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=f"{path}: cannot be read as labels of SBD"):
        split[2]


@pytest.mark.parametrize(
    ("case", "warnings"),
    [
        (ON_DISK[0], ["train: 4 samples; 367 were published (train.txt)."]),
        (ON_DISK[4], ["train: 2 samples; 1,464 were published (its list)."]),
        (ON_DISK[5], ["train_aug: 4 samples; 10,582 were published (its list)."]),
        (ON_DISK[6], ["train: 2 samples; 1,716 were published (train_id.txt)."]),
        (SHAPES, []),
    ],
    ids=lambda case: case.name if isinstance(case, Case) else "",
)
def test_a_split_of_another_size_than_published_is_warned_of(case, warnings, tmp_path):
    assert list(made(case, tmp_path).split("train").warnings) == warnings


# Hostile input


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.png", "train/../../outside.png"])
@pytest.mark.parametrize("pair", ["{} trainannot/0001TP_1.png", "train/0001TP_1.png {}"], ids=["image", "labels"])
def test_a_list_may_not_leave_the_data_sets_folder(path, pair, tmp_path):
    dataset = made(ON_DISK[0], tmp_path / "data")
    (tmp_path / "data" / "train.txt").write_text(pair.format(path))
    with pytest.raises(DatasetError, match=f"{path} leaves the data set's folder") as caught:
        dataset.split("train")
    one_line(caught)


def bomb(path):
    """A PNG of a few bytes that claims to hold 40 gigapixels."""
    header = struct.pack(">II5B", 200_000, 200_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("part", [0, 1], ids=["image", "labels"])
@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.symlink_to(path),
        os.mkfifo,
        Path.mkdir,
        bomb,
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        lambda path: path.write_bytes(random.Random(0).randbytes(1000)),
    ],
    ids=["symlink loop", "FIFO", "folder", "decompression bomb", "EPS, which would run Ghostscript", "noise"],
)
def test_what_is_no_image_is_refused_by_name_at_once(put, part, tmp_path):
    split = made(ON_DISK[0], tmp_path / "data").split("train")
    path = split.root / split.pairs[0][part]
    path.unlink()
    put(path)
    with pytest.raises(UnreadableError, match=f"{path}: cannot be read as an image") as caught:
        split[0]
    one_line(caught)


def test_an_image_of_sixteen_bits_is_refused_rather_than_clipped(tmp_path):
    split = made(ON_DISK[0], tmp_path / "data").split("train")
    path = split.root / split.pairs[0][0]
    Image.fromarray(np.full((HEIGHT, WIDTH), 3000, np.uint16)).save(path)
    with pytest.raises(
        UnreadableError,
        match="8 bits per channel .it holds values of mode I;16B.; dataset=folder reads it with dataset.value_range",
    ):
        split[0]


# Extent and digests


def test_the_extent_is_that_of_the_highest_and_the_widest_image(tmp_path):
    split = made(ON_DISK[0], tmp_path).split("train")
    Image.new("RGB", (30, 5)).save(split.root / split.pairs[1][0])
    Image.new("RGB", (5, 40)).save(split.root / split.pairs[2][0])
    assert split.extent_px() == (40, 30)


def test_a_remembered_file_is_read_again_only_after_it_was_written(tmp_path, monkeypatch):
    file, memory = tmp_path / "file", tmp_path / "cache" / "digests.json"
    file.write_bytes(b"one")
    [first] = FileDigests(memory).of([file])
    with monkeypatch.context() as no_reading:
        no_reading.setattr("data.digests.FileDigests._digest", None)
        assert FileDigests(memory).of([file]) == [first]
    status = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, and a time that hides the change
    assert FileDigests(memory).of([file]) != [first]
    memory.write_text("[1, 2")
    assert FileDigests(memory).of([file]) == FileDigests().of([file])


# Folder


def test_a_list_of_pairs_stands_for_the_folders_of_a_split(tmp_path):
    dataset = made(ON_DISK[3], tmp_path)
    (tmp_path / "night.txt").write_text("val/images/e.png val/labels/e.png\n\n")
    assert names_of(dataset.split("night")) == ["e"]
    (tmp_path / "night.txt").write_text("val/images/e.png\n")
    with pytest.raises(DatasetError, match="night.txt, line 1: expected 'image labels', got 'val/images/e.png'"):
        dataset.split("night")


def test_a_byte_order_mark_before_a_list_is_no_part_of_its_first_entry(tmp_path):
    dataset = made(ON_DISK[3], tmp_path)
    for path, line in {"night.txt": "val/images/e.png val/labels/e.png", "classes.txt": "cat\ndog\nhouse"}.items():
        (tmp_path / path).write_text(line, encoding="utf-8-sig")
    assert names_of(dataset.split("night")) == ["e"]
    assert dataset.info.class_names == ("cat", "dog", "house")


def test_images_in_sub_folders_are_read_and_named_apart(tmp_path):
    dataset = made(ON_DISK[3], tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for part in ("images", "labels"):
        (tmp_path / "elsewhere" / part).mkdir()
        (tmp_path / "train" / part / "linked").symlink_to(tmp_path / "elsewhere" / part)
    for below in ("rome/a", "linked/b"):
        write_image(tmp_path / "train" / "images" / f"{below}.png", 1)
        write_labels(tmp_path / "train" / "labels" / f"{below}.png", 1, [1])
    split = dataset.split("train")
    assert names_of(split) == ["a", "b", "c", "linked/b", "rome/a"]
    assert split.warnings == []


def test_hidden_files_are_left_out_and_so_are_files_that_are_no_images_and_both_are_said(tmp_path):
    dataset = made(ON_DISK[3], tmp_path)
    images = tmp_path / "train" / "images"
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "notes.txt", "d.gif"):
        (images / name).write_bytes(b"x")
    write_text(images / ".ipynb_checkpoints" / "a.png", "x")
    split = dataset.split("train")
    assert names_of(split) == ["a", "b", "c"]
    assert split.warnings == [
        f"{images}: 5 files are hidden and are left out, the first is .DS_Store.",
        f"{images}: 2 files end in none of {', '.join(SUFFIXES)} and are left out, the first is d.gif.",
    ]


def test_hidden_files_of_cityscapes_are_no_images(tmp_path):
    dataset = made(ON_DISK[2], tmp_path)
    city = tmp_path / "leftImg8bit" / "val" / "lindau"
    (city / "._lindau_3_leftImg8bit.png").write_bytes(b"x")
    assert len(dataset.split("val")) == 2


def test_train_ids_in_files_called_label_ids_are_noticed(tmp_path):
    write_cityscapes(tmp_path, "labelIds", (*range(19), 255))
    with pytest.raises(
        DatasetError, match=r"hold no id above 18: these are train ids, .* called \*_labelTrainIds.png"
    ) as caught:
        Cityscapes(str(tmp_path)).split("val")
    one_line(caught)


# What values and colours of a folder's labels stand for


def relabelled(root, labels_HW, **settings):
    """The first sample of val, with other labels."""
    write_folder(root)
    labels_HW = np.asarray(labels_HW, np.uint8)
    Image.fromarray(np.resize(labels_HW, (HEIGHT, WIDTH, *labels_HW.shape[2:]))).save(root / "val" / "labels" / "d.png")
    return Folder(str(root), **settings).split("val")[0].labels_HW.ravel()


@pytest.mark.parametrize(
    ("label_map", "stored", "expected"),
    [
        ({0: "cat", 255: "dog"}, [0, 255], [0, 1]),
        ({0: "ignore", 1: "cat", 2: "dog", 3: "house"}, [0, 1, 2, 3, 255], [255, 0, 1, 2, 255]),
        ({0: None, 7: 0, 8: 1, 9: 1}, [0, 7, 8, 9], [255, 0, 1, 1]),
    ],
    ids=["an object of 255", "ids from 1, 0 is unlabelled", "ids, and two values of one class"],
)
def test_a_map_says_which_class_a_value_stands_for(label_map, stored, expected, tmp_path):
    labels = relabelled(tmp_path, [stored], label_map=label_map)
    assert labels[: len(expected)].tolist() == expected


def test_a_value_that_the_map_does_not_have_is_out_of_range(tmp_path):
    with pytest.raises(LabelRangeError, match="label 2 at row 0, column 1 is out of range; accepted are 0 to 1 and 255"):
        relabelled(tmp_path, [[0, 2]], label_map={0: "cat", 1: "dog"})


COLORS = {"cat": [200, 0, 0], "dog": [[0, 200, 0], [0, 100, 0]], "ignore": [0, 0, 0], "house": (1, 2, 3)}
PAINTED = [[(0, 200, 0), (200, 0, 0), (1, 2, 3), (0, 0, 0), (0, 100, 0)]]


def test_labels_may_be_colours_of_which_a_class_can_have_several(tmp_path):
    assert relabelled(tmp_path, PAINTED, colors=COLORS)[:5].tolist() == [1, 0, 2, 255, 1]
    info = Folder(str(tmp_path), colors=COLORS).info
    assert (info.class_names, info.palette) == (("cat", "dog", "house"), ((200, 0, 0), (0, 200, 0), (1, 2, 3)))


@pytest.mark.parametrize(
    "listed",
    [
        "cat 200 0 0\ndog 0 200 0\nbig house 1 2 3\nignore 0 0 0\nignore 0 100 0\n",
        "name,r,g,b\ncat,200,0,0\ndog,0,200,0\nbig house,1,2,3\nignore,0,0,0\nignore,0,100,0\n",
        "200 0 0\tcat\n0 200 0\tdog\n1 2 3\tbig house\n0 0 0\tignore\n0 100 0\tignore\n",
    ],
    ids=["after the name", "CSV", "before the name"],
)
def test_the_list_of_classes_may_have_their_colours(listed, tmp_path):
    write_folder(tmp_path)
    (tmp_path / "classes.txt").write_text(listed)
    painted = np.resize(np.array(PAINTED, np.uint8), (HEIGHT, WIDTH, 3))
    Image.fromarray(painted).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "val" / "labels" / "d.png")
    dataset = Folder(str(tmp_path))
    assert dataset.info.class_names == ("cat", "dog", "big house")
    assert dataset.split("val")[0].labels_HW.ravel()[:5].tolist() == [1, 0, 2, 255, 255]


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        ("cat\ndog\n\ncat\n", "classes.txt: 'cat' is named twice, in lines 1 and 4"),
        ("cat 1 2 3\ndog 1 2 3\n", r"classes.txt: colour \(1, 2, 3\) is given twice, in lines 1 and 2"),
        ("cat 1 2 3\ndog\n", "classes.txt, line 2: either every line has a colour or none has; line 1 differs"),
        ("cat 1 2 300\ndog 1 2 3\n", "classes.txt, line 1: a colour is three numbers from 0 to 255"),
        ("ignore\ncat\n", "classes.txt, line 1: 'ignore' is not a class; .* dataset.ignore_label or dataset.label_map"),
        ("cat\n", "classes.txt: at least two classes are needed, got 1; is 'background' one"),
    ],
)
def test_a_list_of_classes_that_cannot_be_meant_is_refused_with_its_lines(listed, complaint, tmp_path):
    write_folder(tmp_path)
    (tmp_path / "classes.txt").write_text(listed)
    with pytest.raises(DatasetError, match=complaint) as caught:
        Folder(str(tmp_path)).split("train")
    one_line(caught)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"label_map": {0: "cow"}},
            "dataset.label_map: 0 maps to 'cow', which is not a class; accepted are cat, dog, house, ignore and ids below 3",
        ),
        ({"label_map": {0: 3}}, "dataset.label_map: 0 maps to 3, which is not a class"),
        ({"label_map": {300: "cat"}}, "dataset.label_map: maps values from 0 to 255"),
        ({"label_map": {"cat": 0}}, "dataset.label_map: maps values from 0 to 255"),
        ({"label_map": {0: "cat"}, "colors": COLORS}, "give one of them"),
        ({"colors": {"cat": [1, 2]}}, "dataset.colors: cat needs a colour of three numbers"),
        ({"colors": {"cat": [1, 2, 256]}}, "dataset.colors: cat needs a colour of three numbers"),
        ({"colors": {"cat": "red"}}, "dataset.colors: cat needs a colour of three numbers from 0 to 255, got red"),
        ({"colors": {"cat": 3}}, "dataset.colors: cat needs a colour of three numbers from 0 to 255, got 3"),
        ({"colors": {"cat": [1, 2, 3], "dog": [1, 2, 3]}}, r"dataset.colors: \(1, 2, 3\) stands for 'cat' and for 'dog'"),
        ({"colors": COLORS, "classes": ["cat", "dog"]}, "dataset.colors: must name every class, .*: house"),
        ({"classes": ["cat", "cat"]}, "dataset.classes: 'cat' is named twice"),
        ({"classes": ["ignore", "cat"]}, "dataset.classes: 'ignore' is not a class"),
        ({"classes": ["cat"]}, "dataset.classes: at least two classes are needed, got 1"),
        ({"ignore_label": 300}, "dataset.ignore_label must be from 3 to 255, got 300"),
        ({"value_range": [4095]}, "dataset.value_range must be two values"),
    ],
)
def test_a_setting_of_a_folder_that_cannot_be_meant_is_refused(settings, complaint, tmp_path):
    write_folder(tmp_path)
    with pytest.raises(ValueError, match=complaint) as caught:
        Folder(str(tmp_path), **settings).split("train")
    one_line(caught)


def test_class_names_that_are_numbers_are_text(tmp_path):
    write_folder(tmp_path)
    assert Folder(str(tmp_path), classes=[0, 1, 2]).info.class_names == ("0", "1", "2")


def test_what_files_mean_and_how_they_are_read_is_part_of_the_fingerprint(tmp_path):
    write_folder(tmp_path)
    settings = ({}, {"label_map": {0: 1, 1: 0, 2: 2}}, {"colors": COLORS}, {"upright": True}, {"value_range": [0, 9]})
    prints = {Folder(str(tmp_path), **each).split("train").fingerprint(FileDigests()) for each in settings}
    assert len(prints) == len(settings)


def test_classes_may_be_given_instead_of_their_file(tmp_path):
    made(ON_DISK[3], tmp_path)
    (tmp_path / "classes.txt").unlink()
    assert Folder(str(tmp_path), classes=["a", "b"]).info.class_names == ("a", "b")


def test_the_classes_of_a_folder_are_those_of_its_list(tmp_path):
    info = made(ON_DISK[3], tmp_path / "data").info
    assert info.class_names == ("cat", "dog", "house")
    assert info.palette == distinct_palette(3)
    assert info.ignore_label == 255


def test_a_folder_without_its_list_of_classes_is_named(tmp_path):
    dataset = made(ON_DISK[3], tmp_path / "data")
    (tmp_path / "data" / "classes.txt").unlink()
    with pytest.raises(DatasetError, match="classes.txt: cannot be read .*one class name per line") as caught:
        dataset.split("train")
    one_line(caught)


def test_what_is_left_out_is_told_where_stems_have_no_partner(tmp_path):
    dataset = made(ON_DISK[3], tmp_path)
    (tmp_path / "train" / "images" / "a.png").rename(tmp_path / "train" / "images" / "a.gif")
    with pytest.raises(DatasetError, match=r"the first is 'a'\. .*images: 1 files end in none of .*, the first is a.gif\."):
        dataset.split("train")


def test_netpbms_grey_files_are_read(tmp_path):
    dataset = made(ON_DISK[3], tmp_path)
    labels = tmp_path / "train" / "labels"
    with Image.open(labels / "a.png") as picture:
        expected = np.asarray(picture)
        picture.save(labels / "a.pgm")
    (labels / "a.png").unlink()
    assert dataset.split("train")[0].labels_HW.tolist() == expected.tolist()


@pytest.mark.parametrize("part", ["images", "labels"])
def test_file_stems_without_a_partner_are_counted_and_the_first_is_named(part, tmp_path):
    dataset = made(ON_DISK[3], tmp_path / "data")
    for name in ("lonely", "zebra"):
        write_labels(tmp_path / "data" / "train" / part / f"{name}.png", 0, [0])
    with pytest.raises(DatasetError, match="train: 2 file stems .*the first is 'lonely'") as caught:
        dataset.split("train")
    one_line(caught)


def test_two_images_of_one_stem_are_refused_because_only_one_could_be_used(tmp_path):
    dataset = made(ON_DISK[3], tmp_path / "data")
    write_image(tmp_path / "data" / "train" / "images" / "a.jpg", 0)
    with pytest.raises(DatasetError, match=r"a.jpg and a.png have the same stem"):
        dataset.split("train")


def test_a_folder_searches_on_splits_of_its_own_where_it_has_them(tmp_path):
    dataset = made(ON_DISK[3], tmp_path / "data")
    write_image(tmp_path / "data" / "search_val" / "images" / "x.png", 0)
    write_labels(tmp_path / "data" / "search_val" / "labels" / "x.png", 0, [0])
    assert names_of(dataset.split("search_val")) == ["x"]
    assert names_of(dataset.split("search_train")) == names_of(dataset.split("train")) == ["a", "b", "c"]


# Classes and colours


def test_the_palette_is_vocs():
    published = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        7: (128, 128, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    palette = palette_of(256)
    assert {index: palette[index] for index in published} == published
    assert len(set(palette)) == 256


def test_labels_become_a_picture_with_black_where_the_palette_ends():
    picture_HWC = colorize(np.array([[1, 0], [2, 255]], np.uint8), [(1, 2, 3), (4, 5, 6)])
    assert picture_HWC.tolist() == [[[4, 5, 6], [1, 2, 3]], [[0, 0, 0], [0, 0, 0]]]


@each_dataset
def test_every_class_has_a_name_and_a_colour_of_its_own(case, tmp_path):
    info = made(case, tmp_path / "data").info
    assert len(set(info.class_names)) == len(set(info.palette)) == info.num_classes
    assert info.ignore_label >= info.num_classes


@pytest.mark.parametrize(
    ("names", "palette", "ignore_label", "complaint"),
    [
        (("a",), palette_of(1), 255, "2 to 255 classes, got 1"),
        (("a", "b"), palette_of(3), 255, "got 3 for 2 classes"),
        (("a", "b"), palette_of(2), 1, r"from 2 to 255, got 1\. .* takes dataset\.label_map={0:ignore,1:a,...}\.$"),
        (("a", "b"), palette_of(2), 256, "from 2 to 255, got 256"),
    ],
)
def test_impossible_classes_are_refused(names, palette, ignore_label, complaint):
    with pytest.raises(ValueError, match=complaint):
        DatasetInfo("toy", names, palette, ignore_label)


def test_cityscapes_scores_no_search_on_coarse_labels():
    with pytest.raises(ValueError, match=r"^dataset\.coarse: with dataset\.folds a search would be scored on coarse labels"):
        Cityscapes("/data", coarse=True, folds=3)
