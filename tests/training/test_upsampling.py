import pytest
import torch
import torch.nn.functional as F

from models.grid import resized
from training.upsampling import upsampled_argmax


def smooth(classes, height, width, batch=2):
    torch.manual_seed(0)
    return 9 * F.avg_pool2d(torch.randn(batch, classes, height + 6, width + 6), 7, stride=1)


def both(logits, height, width):
    return upsampled_argmax(logits, height, width), resized(logits, (height, width)).argmax(1)


@pytest.mark.parametrize("classes", [2, 11, 150])
@pytest.mark.parametrize("size", [(2, 2), (5, 9), (24, 31)])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_it_is_the_argmax_of_the_upsampled_logits(classes, size, stride):
    height, width = (stride * (side - 1) + 1 for side in size)
    found, expected = both(smooth(classes, *size), height, width)
    assert found.dtype == torch.uint8
    assert found.shape == expected.shape
    assert (found != expected).float().mean() < 1e-5  # ties within rounding


def test_noise_in_which_every_cell_is_mixed_is_right_too():
    found, expected = both(torch.randn(2, 19, 33, 40), 16 * 32 + 1, 16 * 39 + 1)
    assert (found != expected).float().mean() < 1e-5


def test_cells_whose_corners_agree_are_right_however_close_the_others_come():
    logits = torch.rand(1, 5, 12, 12).mul(1e-6)
    logits[:, 3] = 1e-6
    found, expected = both(logits, 177, 177)
    assert torch.equal(found.long(), expected)
    assert (found == 3).all()


@pytest.mark.parametrize("pixels", [(70, 61), (33, 50), (9, 9), (3, 3)])
@pytest.mark.parametrize("size", [(9, 9), (1, 4)])
def test_images_off_the_grid_are_right_too(size, pixels):
    found, expected = both(smooth(4, *size), *pixels)
    assert torch.equal(found.long(), expected)


def test_half_precision_logits_are_compared_as_they_are():
    logits = smooth(7, 9, 9).bfloat16()
    expected = resized(logits.float(), (129, 129)).argmax(1)
    assert (upsampled_argmax(logits, 129, 129) != expected).float().mean() < 1e-5
