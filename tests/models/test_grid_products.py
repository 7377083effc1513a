"""Pooling and resizing as matrix products, as a GPU does them."""

from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode

from models import operators, segmenter
from models.grid import resized
from models.grid_products import (
    _cells_of_pixels,
    _pixels_of_cells,
    _points_of_line,
    aligned_by_products,
    means_by_products,
    resized_by_products,
)
from models.operators import GridPooling
from models.segmenter import StrideFourDecoder
from models.settings import CellSettings

SIZES = [(24, 31), (7, 5), (1, 1)]
GRIDS = [(1, 1), (2, 4), (8, 8)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_products_equal_torchs_operators_and_their_gradients(size, grid):
    def compare(ours, theirs, maps_BCHW):
        sides = []
        for operator in (ours, theirs):
            leaf = maps_BCHW.clone().requires_grad_()
            output = operator(leaf)
            sides.append((output, *torch.autograd.grad((output * output.detach()).sum(), leaf)))
        for found, expected in zip(*sides, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)

    generator = torch.Generator().manual_seed(0)
    maps_BCHW = torch.randn(2, 3, *size, dtype=torch.float64, generator=generator)
    cells_BCHW = torch.randn(2, 3, *grid, dtype=torch.float64, generator=generator)
    compare(lambda x: means_by_products(x, grid), lambda x: F.adaptive_avg_pool2d(x, grid), maps_BCHW)
    compare(
        lambda x: resized_by_products(x, size),
        lambda x: F.interpolate(x, size=size, mode="bilinear", align_corners=False),
        cells_BCHW,
    )
    finer = 3 * size[0] + 1, 4 * size[1] + 1
    compare(lambda x: aligned_by_products(x, finer), lambda x: resized(x, finer), maps_BCHW)


def test_channels_that_are_last_stay_so():
    maps_BCHW = torch.randn(2, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    raised = resized_by_products(means_by_products(maps_BCHW, (2, 2)), (5, 7))
    assert raised.is_contiguous(memory_format=torch.channels_last)


@contextmanager
def on_a_gpu(is_half):
    """Shapes, types and devices alone."""
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
        patch("torch.cuda.is_bf16_supported", return_value=True),
        torch.device("cuda"),
        torch.autocast("cuda", torch.bfloat16, enabled=is_half),
    ):
        yield


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_decoder_that_is_trained_on_a_gpu_resizes_by_products(is_trained, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        segmenter, "aligned_by_products", lambda maps, size: sizes.append(size) or aligned_by_products(maps, size)
    )
    with on_a_gpu(is_half=False):
        decoder = StrideFourDecoder(5, CellSettings(filters=4)).train(is_trained)
        for part in decoder.modules():
            part.training = part.training and part is decoder  # layers of its own want a driver
        refined = decoder(torch.empty(2, 4, 3, 4), torch.empty(2, 5, 9, 13))
    assert refined.shape == (2, 4, 9, 13)
    assert sizes == ([(9, 13)] if is_trained else [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_under_autocast_of_a_gpu_a_pooling_branch_that_is_trained_keeps_its_type(dtype):
    with on_a_gpu(is_half=dtype == torch.bfloat16):
        branch = GridPooling((2, 4), 6, CellSettings(filters=4)).train()
        branch.project.eval()  # layers of its own want a driver
        output = branch(torch.empty(2, 6, 9, 11, dtype=dtype))
    assert output.dtype == dtype
    assert output.device.type == "cuda"


def test_a_pooling_branch_that_only_labels_makes_no_matrices_for_each_size_of_image(monkeypatch):
    for name in ("means_by_products", "resized_by_products"):
        monkeypatch.setattr(operators, name, lambda *_: pytest.fail("a matrix was made"))
    with on_a_gpu(is_half=False):
        branch = GridPooling((2, 4), 6, CellSettings(filters=4)).eval()
        assert branch(torch.empty(2, 6, 9, 11)).shape == (2, 4, 9, 11)


PRODUCTS = [means_by_products, resized_by_products, aligned_by_products]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_size_that_was_first_met_in_inference_can_be_trained_at(product):
    maps_BCHW = torch.randn(1, 2, 19, 23, requires_grad=True)
    with torch.inference_mode():
        expected = product(maps_BCHW, (2, 3))
    found = product(maps_BCHW, (2, 3))
    assert torch.equal(found, expected)
    found.sum().backward()


def test_matrices_of_sizes_long_past_are_not_kept():
    kinds = (_pixels_of_cells, _cells_of_pixels, _points_of_line)
    for height in range(1, 100):
        maps_BCHW = torch.ones(1, 1, height, 2)
        for product in PRODUCTS:
            product(maps_BCHW, (1, 1))
    assert max(kind.cache_info().currsize for kind in kinds) <= 64
