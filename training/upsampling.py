"""The classes of an image's pixels, from logits of the features' resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.grid import resized

_CELLS = 512
"""Cells that are upsampled at a time: they stay in the processor's cache."""


def upsampled_argmax(logits_BKhw: Tensor, height_px: int, width_px: int) -> Tensor:
    """The most likely class of each pixel, uint8 (B, H, W): ``models.grid.resized(...).argmax(1)``.

    A pixel's logits are a mean of those at the four features around it. Where these agree on a class, so does every pixel
    between them, and only the other cells of the grid are upsampled. Ties within rounding may fall to another class.
    """
    _, _, height, width = logits_BKhw.shape
    stride = (height_px - 1) // max(height - 1, 1)
    is_on_grid = (stride * (height - 1) + 1, stride * (width - 1) + 1) == (height_px, width_px) and min(height, width) > 1
    if logits_BKhw.device.type != "cpu" or not is_on_grid:
        return resized(logits_BKhw.float(), (height_px, width_px)).max(dim=1).indices.to(torch.uint8)
    corners_4BKhw = _corners(logits_BKhw.float())
    classes_4Bhw = corners_4BKhw.max(dim=2).indices.to(torch.uint8)
    is_mixed_Bhw = (classes_4Bhw != classes_4Bhw[0]).any(dim=0)
    predicted_BhSwS = classes_4Bhw[0][:, :, None, :, None].expand(-1, -1, stride, -1, stride).contiguous()
    cells_BhwSS = predicted_BhSwS.permute(0, 1, 3, 2, 4)
    cells_BhwSS[is_mixed_Bhw] = _argmax_within(corners_4BKhw.movedim(2, -1)[:, is_mixed_Bhw], stride)
    return predicted_BhSwS.reshape(len(logits_BKhw), height * stride, width * stride)[:, :height_px, :width_px]


def _corners(logits_BKhw: Tensor) -> Tensor:
    """The logits at each cell's four corners; the cells of the last row and column reach no further than themselves."""
    padded = F.pad(logits_BKhw, (0, 1, 0, 1), mode="replicate")
    return torch.stack([padded[..., :-1, :-1], padded[..., :-1, 1:], padded[..., 1:, :-1], padded[..., 1:, 1:]])


def _argmax_within(corners_4NK: Tensor, stride: int) -> Tensor:
    """The classes of the pixels of N cells, uint8 (N, stride, stride)."""
    along_S = torch.arange(stride, device=corners_4NK.device) / stride
    ends_S2 = torch.stack([1 - along_S, along_S], dim=1)
    weights_P4 = torch.einsum("yi,xj->yxij", ends_S2, ends_S2).reshape(stride * stride, 4)
    parts = [
        (weights_P4 @ part_4NK.transpose(0, 1)).max(dim=2).indices.to(torch.uint8).view(-1, stride, stride)
        for part_4NK in corners_4NK.split(_CELLS, dim=1)
    ]
    return torch.cat(parts) if parts else corners_4NK.new_empty((0, stride, stride), dtype=torch.uint8)
