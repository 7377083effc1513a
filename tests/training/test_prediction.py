from itertools import pairwise

import numpy as np
import pytest
import torch

from data.system.errors import UserError
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from training.prediction import predict_labels, scaled_px, tiles
from training.settings import Inference

NEAR = CellSpec((Branch(-1, Conv1x1()), Branch(0, Conv1x1())))
WIDE = CellSpec((Branch(-1, AtrousConv((3, 3))), Branch(-1, PyramidPooling((1, 1)))))
PAPER = Inference(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)

pytestmark = pytest.mark.usefixtures("one_thread")


def model_of(cell):
    """Untrained, with a classifier that is not lost to one class."""
    torch.manual_seed(0)
    model = Segmenter(cell, 4, BackboneSettings("local"), CellSettings(filters=8)).eval()
    with torch.inference_mode():
        model.classifier.weight.mul_(20)
        model.classifier.bias -= model(pixels_of(image_of(300, 300))).mean(dim=(0, 2, 3))
    return model


def pixels_of(image_HWC):
    return torch.from_numpy(image_HWC).permute(2, 0, 1)[None] / 127.5 - 1


def image_of(height_px, width_px):
    """Soft patches under noise, so that many classes are predicted."""
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (height_px // 24 + 1, width_px // 24 + 1, 3)).repeat(24, 0).repeat(24, 1)
    noise = rng.integers(-40, 41, (height_px, width_px, 3))
    return (patches[:height_px, :width_px] + noise).clip(0, 255).astype(np.uint8)


def test_another_output_stride_than_the_models_is_refused():
    model, image_HWC = model_of(NEAR), image_of(33, 33)
    same = predict_labels(model, image_HWC, Inference(output_stride=16))
    assert torch.equal(same, predict_labels(model, image_HWC, Inference()))
    with pytest.raises(UserError, match=r"inference.output_stride: the model's is 16, got 8; model.at_stride\(8\).eval\(\)"):
        predict_labels(model, image_HWC, Inference(output_stride=8))


# Tiles


@pytest.mark.parametrize("length_px", [1, 63, 100, 101, 128, 129, 300, 997, 2049])
@pytest.mark.parametrize(("tile_px", "overlap_px"), [(100, 0), (100, 33), (128, 64), (517, 32)])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_tiles_keep_each_pixel_once_and_overlap_as_they_should(length_px, tile_px, overlap_px, output_stride):
    found = list(tiles(length_px, tile_px, overlap_px, output_stride))
    assert [place for tile in found for place in range(tile.kept.start, tile.kept.stop)] == list(range(length_px))
    for tile in found:
        assert 0 <= tile.seen.start <= tile.kept.start < tile.kept.stop <= tile.seen.stop <= length_px
        assert tile.seen.stop - tile.seen.start <= tile_px
        assert tile.seen.start % output_stride == 0
        assert np.arange(length_px)[tile.seen][tile.kept_of_seen].tolist() == list(range(tile.kept.start, tile.kept.stop))
    assert all(one.seen.stop - other.seen.start >= overlap_px for one, other in pairwise(found))


def test_an_image_within_one_tile_is_not_cut():
    assert len(list(tiles(2048, 2048, 256, 16))) == 1


def test_tiles_of_a_cell_that_sees_no_further_than_the_overlap_are_labelled_as_the_whole():
    model, image_HWC = model_of(NEAR), image_of(330, 421)
    whole_HW = predict_labels(model, image_HWC, Inference())
    tiled_HW = predict_labels(model, image_HWC, Inference(tile_px=200, overlap_px=100))
    assert len(whole_HW.unique()) > 2
    assert torch.equal(tiled_HW, whole_HW)


def test_the_model_never_sees_more_than_a_tile():
    model, seen = model_of(WIDE), []
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[-2:]))
    predict_labels(model, image_of(300, 90), Inference(tile_px=100, overlap_px=20))
    assert len(seen) > 2
    assert max(max(size) for size in seen) <= 100


# Scales and flips


@pytest.mark.parametrize("inference", [Inference(), PAPER, Inference(tile_px=64, overlap_px=16)], ids=["one", "paper", "tiles"])
@pytest.mark.parametrize(("height_px", "width_px"), [(1, 1), (1, 130), (70, 2), (65, 81), (66, 80)])
def test_labels_have_the_images_own_size(height_px, width_px, inference):
    labels_HW = predict_labels(model_of(WIDE), image_of(height_px, width_px), inference)
    assert labels_HW.shape == (height_px, width_px)
    assert labels_HW.dtype == torch.uint8
    assert labels_HW.max() < 4


def test_with_flips_the_mirror_image_gets_the_mirrored_labels():
    model, image_HWC = model_of(WIDE), image_of(90, 101)
    mirrored_HWC = np.ascontiguousarray(image_HWC[:, ::-1])
    for inference, expected in ((PAPER, True), (Inference(scales=PAPER.scales), False)):
        labels_HW, mirrored_HW = (predict_labels(model, image, inference) for image in (image_HWC, mirrored_HWC))
        assert torch.equal(labels_HW, mirrored_HW.flip(-1)) == expected


def test_one_scale_gives_the_class_of_the_largest_logit():
    model, image_HWC = model_of(WIDE), image_of(50, 70)
    with torch.inference_mode():
        expected_HW = model(pixels_of(image_HWC))[0].argmax(dim=0)
    assert len(expected_HW.unique()) > 2
    assert (predict_labels(model, image_HWC, Inference()) == expected_HW).float().mean() > 0.999


@pytest.mark.parametrize(("size_px", "scale", "expected"), [(513, 0.5, 257), (513, 1.75, 897), (360, 0.75, 270), (1, 0.5, 1)])
def test_scaled_sizes_are_deeplabs(size_px, scale, expected):
    assert scaled_px(size_px, scale) == expected
