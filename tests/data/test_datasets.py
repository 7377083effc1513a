import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.camvid import CamVid
from data.cityscapes import Cityscapes
from data.datasets import SPLITS, DatasetError, DatasetInfo, SegmentationDataset, colorize, palette_of
from data.folder import Folder
from data.shapes import Shapes

WIDTH, HEIGHT = 20, 12
REAL_CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"


def write_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_labels(path, seed, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).choice(np.array(values, np.uint8), (HEIGHT, WIDTH))).save(path)


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


@each_dataset
def test_the_order_and_the_content_are_the_same_each_time(case, tmp_path):
    case.write(tmp_path / "data")
    first, again = (case.open(tmp_path / "data").split("train") for _ in range(2))
    assert names_of(first) == names_of(again) == sorted(names_of(first))
    for index in range(len(first)):
        np.testing.assert_array_equal(first[index].image_HWC, again[index].image_HWC)
        np.testing.assert_array_equal(first[index].labels_HW, again[index].labels_HW)
    assert first.fingerprint() == again.fingerprint()


@each_dataset
def test_train_and_val_have_different_fingerprints(case, tmp_path):
    dataset = made(case, tmp_path / "data")
    assert dataset.split("train").fingerprint() != dataset.split("val").fingerprint()


@each_dataset
def test_an_unknown_split_is_refused_with_the_accepted_ones(case, tmp_path):
    dataset = made(case, tmp_path / "data")
    with pytest.raises(DatasetError, match="no split 'test'; accepted are train, val, search_train, search_val") as caught:
        dataset.split("test")
    one_line(caught)


@each_dataset_on_disk
def test_the_fingerprint_does_not_change_when_the_data_set_is_moved(case, tmp_path):
    before = made(case, tmp_path / "data").split("train").fingerprint()
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert case.open(tmp_path / "elsewhere").split("train").fingerprint() == before


@each_dataset_on_disk
@pytest.mark.parametrize("part", [0, 1], ids=["image", "labels"])
def test_the_fingerprint_changes_with_one_byte_of_an_image_or_a_label_map(case, part, tmp_path):
    split = made(case, tmp_path / "data").split("train")
    before = split.fingerprint()
    path = split.root / split.pairs[-1][part]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert case.open(tmp_path / "data").split("train").fingerprint() != before


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
    assert split[0].name != split[2].name
    with pytest.raises(DatasetError, match=f"{path}: cannot be read as an image") as caught:
        split[1]
    one_line(caught)


@each_dataset_on_disk
@pytest.mark.parametrize("part", [0, 1], ids=["image", "labels"])
def test_a_missing_file_is_named_when_it_is_read_and_when_it_is_fingerprinted(case, part, tmp_path):
    split = made(case, tmp_path / "data").split("train")
    path = split.root / split.pairs[0][part]
    path.unlink()
    for use in (lambda: split[0], split.fingerprint):
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
    with pytest.raises(DatasetError, match=f"{path}: .*{complaint}") as caught:
        split[0]
    one_line(caught)


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


# Folder


def test_the_classes_of_a_folder_are_those_of_its_list(tmp_path):
    info = made(ON_DISK[3], tmp_path / "data").info
    assert info.class_names == ("cat", "dog", "house")
    assert info.palette == palette_of(3)
    assert info.ignore_label == 255


def test_a_folder_without_its_list_of_classes_is_named(tmp_path):
    dataset = made(ON_DISK[3], tmp_path / "data")
    (tmp_path / "data" / "classes.txt").unlink()
    with pytest.raises(DatasetError, match="classes.txt: cannot be read .*one class name a line") as caught:
        dataset.split("train")
    one_line(caught)


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
        (("a", "b"), palette_of(2), 1, "from 2 to 255, got 1"),
        (("a", "b"), palette_of(2), 256, "from 2 to 255, got 256"),
    ],
)
def test_impossible_classes_are_refused(names, palette, ignore_label, complaint):
    with pytest.raises(ValueError, match=complaint):
        DatasetInfo("toy", names, palette, ignore_label)
