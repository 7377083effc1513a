import pytest
import torch

from models.grid import padded_px, resized


@pytest.mark.parametrize(
    ("size_px", "stride", "expected"), [(1, 16, 1), (2, 16, 17), (17, 16, 17), (360, 16, 369), (480, 16, 481), (480, 8, 481)]
)
def test_sizes_are_padded_to_the_next_multiple_of_the_stride_plus_one(size_px, stride, expected):
    assert padded_px(size_px, stride) == expected


def test_a_map_that_is_resized_keeps_its_values_on_the_grid():
    maps_BCHW = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(resized(maps_BCHW, (49, 65))[..., ::16, ::16], maps_BCHW)
