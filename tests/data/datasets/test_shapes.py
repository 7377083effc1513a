import numpy as np
import pytest

from data.datasets.contract import SPLITS, DatasetError, SegmentationDataset
from data.datasets.shapes import FAMILIES, LAMP_COLOURS, Shapes
from data.digests import FileDigests

SMALL = Shapes(num_train=12, num_val=4)


def test_shapes_is_a_segmentation_dataset():
    assert isinstance(SMALL, SegmentationDataset)


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_gives_images_with_labels_of_their_size_and_in_range(name):
    split = SMALL.split(name)
    assert len(split) == (12 if "train" in name else 4)
    names = [split[i].name for i in range(len(split))]
    assert len(set(names)) == len(names)
    sample = split[0]
    assert sample.image_HWC.shape == (321, 321, 3)
    assert sample.labels_HW.shape == (321, 321)
    assert sample.image_HWC.dtype == sample.labels_HW.dtype == np.uint8
    assert sample.labels_HW.max() < SMALL.info.num_classes


def test_an_unknown_split_is_refused_with_the_accepted_ones():
    with pytest.raises(DatasetError, match="accepted are train, val"):
        SMALL.split("minival")


def test_a_sample_beyond_the_end_is_refused():
    with pytest.raises(IndexError, match="0 to 3"):
        SMALL.split("val")[4]


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_train", 0), ("num_val", 0), ("size_px", 320), ("size_px", 305), ("seed", -1)],
)
def test_a_parameter_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"dataset.{field}.*{value}"):
        Shapes(**{field: value})


def test_a_sample_is_the_same_whenever_and_among_however_many_it_is_drawn():
    split = SMALL.split("train")
    later, first = split[7], Shapes(num_train=8).split("train")[7]
    np.testing.assert_array_equal(later.image_HWC, first.image_HWC)
    np.testing.assert_array_equal(later.labels_HW, first.labels_HW)


def test_samples_splits_and_seeds_differ():
    splits = (SMALL.split("train"), SMALL.split("val"), Shapes(seed=1).split("train"))
    images = {split[i].image_HWC.tobytes() for split in splits for i in range(2)}
    assert len(images) == 6


def test_the_fingerprint_tells_parameters_and_splits_apart():
    variants = (SMALL, Shapes(num_train=13, num_val=5), Shapes(12, 4, size_px=337), Shapes(12, 4, seed=1))
    prints = {dataset.split(name).fingerprint(FileDigests()) for dataset in variants for name in ("train", "val")}
    assert len(prints) == 8
    assert SMALL.split("train").fingerprint(FileDigests()) == Shapes(12, 4).split("search_train").fingerprint(FileDigests())


def test_every_class_occurs_and_the_two_colours_of_a_family_are_balanced():
    split = Shapes(num_train=100).split("train")
    pixels = sum(np.bincount(split[i].labels_HW.ravel(), minlength=7) for i in range(len(split)))
    share = pixels[1:] / pixels.sum()
    assert share.min() > 0.005
    assert np.all(abs(np.log(share[0::2] / share[1::2])) < 0.3)


def test_a_class_is_decided_by_the_lamp_at_its_familys_displacement():
    split = SMALL.split("train")
    for i in range(len(split)):
        sample = split[i]
        for class_id, (family, lamp) in enumerate(((f, lamp) for f in FAMILIES for lamp in LAMP_COLOURS), start=1):
            things = np.argwhere(sample.labels_HW == class_id)
            seen = sample.image_HWC[tuple((things + family.lamp_offset_px).T)].astype(int)
            is_orange = seen[:, 0] > seen[:, 2] + 40
            is_blue = seen[:, 2] > seen[:, 0] + 40
            assert (is_orange if lamp == "orange" else is_blue).all()


def test_things_of_one_family_look_alike_whatever_their_lamp():
    split = Shapes(num_train=60).split("train")
    pixels = {class_id: [] for class_id in range(1, 7)}
    for sample in map(split.__getitem__, range(len(split))):
        for class_id, found in pixels.items():
            found.append(sample.image_HWC[sample.labels_HW == class_id])
    means = {class_id: np.concatenate(found).mean(axis=0) for class_id, found in pixels.items()}
    for orange, blue in ((1, 2), (3, 4), (5, 6)):
        hue_orange, hue_blue = (means[c] / means[c].sum() for c in (orange, blue))
        np.testing.assert_allclose(hue_orange, hue_blue, atol=2e-3)


def test_counting_lamps_tells_nothing_because_both_colours_light_as_many():
    split = SMALL.split("train")
    for i in range(len(split)):
        image = split[i].image_HWC.astype(int)
        orange, blue = ((sign * (image[..., 0] - image[..., 2]) > 60).mean() for sign in (1, -1))
        assert min(orange, blue) > 0.02
