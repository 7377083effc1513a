import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from inspect import getmembers, isclass

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from data.datasets.contract import Sample
from data.system.errors import UserError
from data.transforms import RESIZING, Augmentation, mirrored, named_transform, normalize

MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 0.5)
PAPER_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def transform(height_px, width_px, scales=(1.0,), flip=False, color_jitter=0.0):
    """Image and labels of a sample as an augmentation changes them."""
    augmentation = Augmentation(height_px, width_px, MEAN, 255, scales, 0.5 * flip, color_jitter)

    def augmented(sample, seed):
        outcome = augmentation(sample, seed)
        return outcome.image_HWC, outcome.labels_HW

    return augmented


def sample(height_px=40, width_px=56):
    """Noise with labels 0, 5 and 10; the first channel of the image shows the label."""
    rng = np.random.default_rng(0)
    labels_HW = rng.choice(np.array([0, 5, 10], np.uint8), (height_px, width_px))
    image_HWC = rng.integers(0, 256, (height_px, width_px, 3), np.uint8)
    image_HWC[..., 0] = labels_HW * 20
    return Sample("noise", image_HWC, labels_HW)


def shown_labels(image_HWC):
    """The labels that the image shows, where it was not resized."""
    return image_HWC[..., 0] // 20


def test_an_image_is_normalised_as_the_backbone_wants_it():
    image_HWC = sample().image_HWC
    expected = (image_HWC.astype(np.float64) / 255 - MEAN) / STD
    np.testing.assert_allclose(normalize(image_HWC, MEAN, STD), expected.transpose(2, 0, 1), atol=1e-5)


def test_without_scaling_flipping_or_cropping_the_augmentation_changes_nothing():
    image_HWC, labels_HW = transform(40, 56)(sample(), seed=3)
    np.testing.assert_array_equal(image_HWC, sample().image_HWC)
    np.testing.assert_array_equal(labels_HW, sample().labels_HW)
    assert image_HWC.dtype == labels_HW.dtype == np.uint8


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.0, 1.25, 2.0])
def test_labels_are_never_interpolated(scale):
    for seed in range(10):
        image_HWC, labels_HW = transform(49, 65, [scale], flip=True)(sample(), seed)
        assert image_HWC.shape == (49, 65, 3)
        assert labels_HW.shape == (49, 65)
        assert set(np.unique(labels_HW)) <= {0, 5, 10, 255}
        assert {0, 5, 10} <= set(np.unique(labels_HW))


@pytest.mark.parametrize(("scale", "labelled_px"), [(0.5, 20 * 28), (1.0, 40 * 56), (1.5, 60 * 84)])
def test_a_scale_resizes_the_image_and_the_rest_of_the_crop_is_ignored(scale, labelled_px):
    _, labels_HW = transform(97, 97, [scale])(sample(), seed=0)
    assert (labels_HW != 255).sum() == labelled_px


def test_padding_is_the_mean_colour():
    image_HWC, labels_HW = transform(97, 97)(sample(), seed=0)
    padding = image_HWC[labels_HW == 255]
    assert len(padding) == 97 * 97 - 40 * 56
    assert np.unique(padding, axis=0).tolist() == [[51, 102, 153]]


@pytest.mark.parametrize("size_px", [(33, 33), (97, 97), (33, 97)])
def test_image_and_labels_are_cropped_padded_and_flipped_together(size_px):
    for seed in range(10):
        image_HWC, labels_HW = transform(*size_px, flip=True)(sample(), seed)
        is_labelled = labels_HW != 255
        np.testing.assert_array_equal(shown_labels(image_HWC)[is_labelled], labels_HW[is_labelled])


def test_half_of_the_images_are_mirrored_left_to_right_and_none_without_flip():
    upright_HW = sample().labels_HW
    outcomes = [transform(40, 56, flip=True)(sample(), seed)[1] for seed in range(60)]
    mirrored = sum(np.array_equal(labels_HW, upright_HW[:, ::-1]) for labels_HW in outcomes)
    assert mirrored + sum(np.array_equal(labels_HW, upright_HW) for labels_HW in outcomes) == 60
    assert 15 < mirrored < 45
    for seed in range(10):
        np.testing.assert_array_equal(transform(40, 56)(sample(), seed)[1], upright_HW)


def test_every_scale_is_drawn():
    sizes = {(transform(97, 97, [0.5, 1.0, 1.5])(sample(), seed)[1] != 255).sum() for seed in range(30)}
    assert sizes == {20 * 28, 40 * 56, 60 * 84}


def test_the_outcome_is_a_function_of_sample_and_seed():
    def outcome(seed):
        image_HWC, labels_HW = transform(33, 33, PAPER_SCALES, flip=True)(sample(), seed)
        return image_HWC.tobytes() + labels_HW.tobytes()

    first = [outcome(seed) for seed in range(8)]
    np.random.seed(1)
    torch.manual_seed(1)
    assert [outcome(seed) for seed in range(8)] == first
    assert len(set(first)) == 8


def test_colour_jitter_changes_the_image_alone():
    image_HWC, labels_HW = transform(40, 56, color_jitter=0.4)(sample(), seed=0)
    assert (image_HWC != sample().image_HWC).mean() > 0.5
    np.testing.assert_array_equal(labels_HW, sample().labels_HW)


def test_a_mirrored_sample_has_left_and_right_exchanged():
    mirror = mirrored(sample())
    np.testing.assert_array_equal(mirror.image_HWC, np.fliplr(sample().image_HWC))
    np.testing.assert_array_equal(mirror.labels_HW, np.fliplr(sample().labels_HW))


def test_threads_that_augment_at_once_get_what_one_alone_gets():
    augmentation = Augmentation(49, 65, MEAN, 255, PAPER_SCALES, 0.5, 0.2)
    alone = [augmentation(sample(), seed).image_HWC for seed in range(40)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda seed: augmentation(sample(), seed).image_HWC, range(40)))
    assert all(map(np.array_equal, alone, together))


def test_further_transforms_follow_by_name_and_change_the_image_alone():
    further = [{"name": "InvertImg", "p": 1.0}, {"name": "GaussNoise", "p": 0.0}]
    plain, inverted = (Augmentation(40, 56, MEAN, 255, [1.0], 0.0, further=some)(sample(), 0) for some in ((), further))
    np.testing.assert_array_equal(inverted.image_HWC, 255 - plain.image_HWC)
    np.testing.assert_array_equal(inverted.labels_HW, plain.labels_HW)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"name": "GausNoise"}, "has no transform 'GausNoise'"),
        ({"p": 1.0}, "has no transform None"),
        ({"name": "Compose"}, "has no transform 'Compose'"),
        ({"name": "GaussNoise", "strength": 3}, "GaussNoise: .*strength"),
        ({"name": "GaussNoise", "p": "often"}, "GaussNoise: "),
        ({"name": "GridElasticDeform", "num_grid_xy": [4, 4], "magnitude": 20}, "class 0.* accepted are ElasticTransform"),
    ],
)
def test_a_transform_that_albumentations_does_not_have_so_is_refused_in_a_line(given, complaint):
    with pytest.raises(UserError, match=f"^training.augment: .*{complaint}") as refused:
        named_transform(given, MEAN, 255)
    assert "\n" not in str(refused.value)


def test_no_further_transform_makes_a_class_of_what_it_leaves_empty():
    """Of all in albumentations that need no argument; one that fails here needs other data."""
    kinds = [kind for _, kind in getmembers(A, isclass) if issubclass(kind, A.DualTransform)]
    found, tried = {}, 0
    for kind in kinds:
        with suppress(UserError, KeyError, ValueError, NotImplementedError), warnings.catch_warnings(action="ignore"):
            transform = named_transform({"name": kind.__name__, "p": 1.0}, MEAN, 255)
            for seed in range(3):
                transform.set_random_seed(seed)
                mask = transform(image=np.full((64, 96, 3), 90, np.uint8), mask=np.full((64, 96), 5, np.uint8))["mask"]
                if classes := set(np.unique(mask)) - {5, 255}:
                    found[kind.__name__] = classes
            tried += 1
    assert tried >= 25
    assert found == {}


@pytest.mark.parametrize(
    "further",
    [
        {"name": "Normalize"},
        {"name": "ToFloat"},
        {"name": "CenterCrop", "height": 32, "width": 32},
        {"name": "Transpose", "p": 0.3},
        {"name": "RandomRotate90", "p": 0.2},
        {"name": "RandomCrop", "height": 32, "width": 32, "p": 0.3},
    ],
    ids=lambda further: further["name"],
)
def test_a_further_transform_that_changes_sizes_or_types_is_refused(further):
    augmentation = Augmentation(40, 56, MEAN, 255, [1.0], 0.0, further=[further])
    with pytest.raises(UserError, match="training.augment: transforms must leave images of 8 bits and 40 x 56 pixels"):
        augmentation.try_once()


def test_a_further_transform_that_fails_is_refused_in_one_line():
    augmentation = Augmentation(40, 56, MEAN, 255, [1.0], further=[{"name": "RandomCrop", "height": 64, "width": 64, "p": 0.1}])
    with pytest.raises(UserError, match=r"^training\.augment: RandomCrop: Crop size .*exceeds image dimensions"):
        augmentation.try_once()


def test_flip_place_and_brightness_of_a_crop_are_drawn_independently():
    """By ``set_random_seed`` all transforms draw the same numbers: of crops above the middle none was flipped."""
    rows, columns = np.mgrid[:120, :160].astype(np.uint8)
    image_HWC = np.stack([np.full_like(rows, 100), rows, columns], axis=2)
    plain = Sample("ramps", image_HWC, np.zeros_like(rows))
    inverting = [{"name": "InvertImg", "p": 0.2}]
    augmentation = Augmentation(65, 65, MEAN, 255, [1.0], 0.5, further=inverting)
    found = []
    for seed in range(600):
        crop_HWC = augmentation(plain, seed).image_HWC.astype(int)
        is_inverted = crop_HWC[0, 0, 0] != 100
        top_px = 255 - crop_HWC[0, 0, 1] if is_inverted else crop_HWC[0, 0, 1]
        rises = crop_HWC[0, -1, 2] > crop_HWC[0, 0, 2]
        found.append((rises == is_inverted, is_inverted, top_px))
    correlations = np.corrcoef(np.array(found, dtype=float).T)
    assert np.abs(correlations - np.eye(3)).max() < 0.15
    assert 0.4 < np.mean([is_flipped for is_flipped, _, _ in found]) < 0.6


SPINNING = {"name": "Rotate", "limit": [20, 20], "p": 1.0}


def grey_of_class_5(further):
    """A grey image of class 5 alone, as a transform changes it."""
    plain = Sample("grey", np.full((80, 80, 3), 90, np.uint8), np.full((80, 80), 5, np.uint8))
    return Augmentation(80, 80, MEAN, 255, [1.0], 0.0, further=[further])(plain, 3)


@pytest.mark.parametrize(
    "further",
    [SPINNING, {"name": "Affine", "rotate": [15, 15], "p": 1.0}],
    ids=lambda further: further["name"],
)
def test_the_border_that_a_further_transform_shows_has_the_ignore_label_and_the_mean_colour(further):
    turned = grey_of_class_5(further)
    assert set(np.unique(turned.labels_HW)) == {5, 255}
    np.testing.assert_array_equal(turned.image_HWC[0, 0], [51, 102, 153])


def test_a_border_that_is_asked_for_is_given():
    turned = grey_of_class_5({**SPINNING, "fill_mask": 7, "fill": 0})
    assert set(np.unique(turned.labels_HW)) == {5, 7}
    np.testing.assert_array_equal(turned.image_HWC[0, 0], 0)


def test_what_a_mask_dropout_drops_has_the_ignore_label():
    assert named_transform({"name": "MaskDropout", "p": 1.0}, MEAN, 255).fill_mask == 255


def shift_px(scale):
    """How far labels lie to the right of the image, in pixels after the resize: the mean over edges at every third column."""
    shifts = []
    for column in range(30, 220, 3):
        labels_HW = np.zeros((64, 256), np.uint8)
        labels_HW[:, column:] = 1
        shown = Sample("edge", np.repeat(200 * labels_HW[..., None], 3, axis=2), labels_HW)
        resized = Augmentation(round(64 * scale), round(256 * scale), MEAN, 255, [scale], 0.0)(shown, 0)
        shifts.append(np.argmax(resized.labels_HW[5] == 1) - (1 - resized.image_HWC[5, :, 0] / 200).sum())
    return np.mean(shifts)


@pytest.mark.parametrize("scale", [0.75, 1.25, 1.5, 1.75, 2.0])
def test_labels_lie_where_the_image_does_at_every_scale(scale):
    assert abs(shift_px(scale)) < 0.1


@pytest.mark.parametrize("name", RESIZING)
def test_every_transform_that_resizes_labels_does_so_from_centre_to_centre(name):
    arguments = {
        "CropAndPad": {"px": 3},
        "LongestMaxSize": {"max_size": 40},
        "RandomResizedCrop": {"size": [20, 20]},
        "RandomScale": {},
        "RandomSizedCrop": {"min_max_height": [10, 20], "size": [20, 20]},
        "Resize": {"height": 20, "width": 20},
        "SmallestMaxSize": {"max_size": 20},
    }[name]
    assert named_transform({"name": name, **arguments}, MEAN, 255).mask_interpolation == cv2.INTER_NEAREST_EXACT
