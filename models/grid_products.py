"""Averages over a grid of cells, and the bilinear way back to a map, as products with constant matrices.

For trainings on GPUs: torch's own operators sum their gradients there in an order that changes from run to run, and under
autocast they are float32.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_KEPT = 64
"""Matrices of a kind: a captured step reads them where they lie, and no training, with maps of one size, has as many."""


def means_by_products(maps_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
    """``F.adaptive_avg_pool2d``, of the maps' type.

    Pixels are weighted by 1, which half precision holds exactly, and their sum is divided by their number.
    """
    inside_GP, shares_G1 = _pixels_of_cells(tuple(maps_BCHW.shape[-2:]), grid, maps_BCHW.device, maps_BCHW.dtype)
    sums_BGC = inside_GP @ _pixels_first(maps_BCHW)
    return _as_maps((sums_BGC * shares_G1).to(maps_BCHW.dtype), grid)


def resized_by_products(maps_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """``F.interpolate``, bilinear without aligned corners, of the maps' type."""
    weights_PG = _cells_of_pixels(tuple(maps_BCHW.shape[-2:]), size, maps_BCHW.device, maps_BCHW.dtype)
    return _as_maps((weights_PG @ _pixels_first(maps_BCHW)).to(maps_BCHW.dtype), size)


def aligned_by_products(maps_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """``models.grid.resized``, of the maps' type: one axis after the other, because a decoder's maps have many pixels."""
    rows_Hh, columns_Ww = (
        _points_of_line(cells, pixels, maps_BCHW.device, maps_BCHW.dtype)
        for cells, pixels in zip(maps_BCHW.shape[-2:], size, strict=True)
    )
    return ((rows_Hh @ maps_BCHW) @ columns_Ww.T).to(maps_BCHW.dtype)


def _pixels_first(maps_BCHW: Tensor) -> Tensor:
    """(B, pixels, C): a view where channels are last."""
    return maps_BCHW.flatten(2).transpose(1, 2)


def _as_maps(values_BPC: Tensor, size: tuple[int, int]) -> Tensor:
    return values_BPC.transpose(1, 2).unflatten(2, size)


@lru_cache(_KEPT)
@torch.inference_mode(False)  # else nothing could be trained with what an inference has made first
def _pixels_of_cells(
    size: tuple[int, int], grid: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(cells, pixels) ones where a pixel lies in a cell, and each cell's 1 / pixels."""
    rows_GH, columns_GW = (
        F.adaptive_avg_pool1d(torch.eye(length, dtype=torch.float64)[None], parts)[0].T
        for length, parts in zip(size, grid, strict=True)
    )
    shares_GP = _of_both_axes(rows_GH, columns_GW)
    return (shares_GP > 0).to(dtype).to(device), shares_GP.amax(dim=1, keepdim=True).float().to(device)


@lru_cache(_KEPT)
@torch.inference_mode(False)
def _cells_of_pixels(grid: tuple[int, int], size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(pixels, cells) weights."""
    rows_HG, columns_WG = (
        F.interpolate(torch.eye(parts, dtype=torch.float64)[None], size=length, mode="linear", align_corners=False)[0].T
        for parts, length in zip(grid, size, strict=True)
    )
    return _of_both_axes(rows_HG, columns_WG).to(dtype).to(device)


@lru_cache(_KEPT)
@torch.inference_mode(False)
def _points_of_line(points: int, length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(length, points) weights of a line with aligned corners: quarters, which half precision holds, from stride 16 to 4."""
    line_1pp = torch.eye(points, dtype=torch.float64)[None]
    return F.interpolate(line_1pp, size=length, mode="linear", align_corners=True)[0].T.contiguous().to(dtype).to(device)


def _of_both_axes(rows_IH: Tensor, columns_JW: Tensor) -> Tensor:
    """(I x J, H x W): the product of what either axis says."""
    both_IJHW = rows_IH[:, None, :, None] * columns_JW[None, :, None, :]
    return both_IJHW.reshape(len(rows_IH) * len(columns_JW), -1)
