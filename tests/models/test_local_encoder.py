import pytest
import torch

from models.local_encoder import LocalEncoder

CENTRE = 6
"""Of the last map of a 193-pixel image: feature (6, 6) lies on pixel (96, 96)."""


def test_it_gives_the_input_and_one_map_a_stage_at_strides_2_to_16():
    encoder = LocalEncoder()
    features = encoder(torch.randn(1, 3, 385, 385))
    assert [map_BCHW.shape[1] for map_BCHW in features] == encoder.out_channels == [3, 16, 32, 64, 96]
    assert [map_BCHW.shape[-1] for map_BCHW in features] == [385, 193, 97, 49, 25]


def test_the_seed_alone_decides_its_weights():
    first, again, other = LocalEncoder(seed=1), LocalEncoder(seed=1), LocalEncoder(seed=2)
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize(("distance_px", "is_seen"), [(0, True), (15, True), (16, False), (40, False)])
@pytest.mark.parametrize("direction", [(0, 1), (1, 0), (0, -1), (-1, 0)])
def test_a_feature_sees_31_pixels_around_its_own_and_nothing_else(distance_px, is_seen, direction):
    image_BCHW = torch.randn(1, 3, 193, 193, generator=torch.Generator().manual_seed(0), requires_grad=True)
    LocalEncoder()(image_BCHW)[-1][0, :, CENTRE, CENTRE].sum().backward()
    row, column = (16 * CENTRE + distance_px * step for step in direction)
    assert image_BCHW.grad[0, :, row, column].any() == is_seen


def test_features_keep_the_scale_of_the_image():
    images_BCHW = torch.randn(4, 3, 193, 193, generator=torch.Generator().manual_seed(0))
    for map_BCHW in LocalEncoder()(images_BCHW)[1:]:
        assert 0.3 < map_BCHW.square().mean().sqrt() < 3


def test_it_can_be_trained_end_to_end():
    encoder = LocalEncoder()
    encoder(torch.randn(2, 3, 65, 65))[-1].square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters())
