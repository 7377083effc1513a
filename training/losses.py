"""The segmentation loss, at the labels' own resolution and without full-resolution logits."""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP_ROWS = 16
"""Rows of pixels that are upsampled at a time: a strip stays in the processor's cache."""


def segmentation_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
    """Mean cross entropy of the upsampled logits over the pixels that count; 0 where none does.

    Equal to ``F.cross_entropy(upsample_logits(...), labels, ignore_index=...)`` in value and gradient. It works in strips of
    rows and finds the gradient on the way, so that neither needs the full-resolution logits (docs/log.md has the gain).

    Args:
        logits_BKhw: class scores at the features' resolution.
        labels_BHW: class ids at the image's resolution, uint8; pixels equal to ``ignore_label`` do not count.
    """
    loss: Tensor = _StripCrossEntropy.apply(logits_BKhw, labels_BHW, ignore_label)
    return loss


class _StripCrossEntropy(torch.autograd.Function):
    """Bilinear upsampling is two small matrix products, rows by columns; the gradient runs back through the same two."""

    @staticmethod
    def forward(ctx: Any, logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
        batch, classes, height, width = logits_BKhw.shape
        rows_Hh, columns_Ww = (
            _bilinear(out, size, logits_BKhw.device) for out, size in zip(labels_BHW.shape[1:], (height, width), strict=True)
        )
        wide_NhW = logits_BKhw.detach().float().reshape(batch * classes, height, width) @ columns_Ww.T
        gradient_NhW = torch.zeros_like(wide_NhW)
        total = wide_NhW.new_zeros(())
        for start in range(0, len(rows_Hh), STRIP_ROWS):
            strip_Rh, first, last = _touched(rows_Hh[start : start + STRIP_ROWS], start, len(rows_Hh))
            labels_BRW = labels_BHW[:, start : start + STRIP_ROWS].long()
            counts_B1RW = (labels_BRW != ignore_label).unsqueeze(1)
            targets_B1RW = labels_BRW.unsqueeze(1).where(counts_B1RW, 0)
            logits_NRW = strip_Rh @ wide_NhW[:, first:last]
            logits_BKRW = logits_NRW.view(batch, classes, *labels_BRW.shape[1:])
            logits_BKRW -= logits_BKRW.amax(dim=1, keepdim=True)
            targeted_B1RW = logits_BKRW.gather(1, targets_B1RW)
            sums_B1RW = logits_BKRW.exp_().sum(dim=1, keepdim=True)
            total += ((sums_B1RW.log() - targeted_B1RW) * counts_B1RW).sum()
            logits_BKRW *= counts_B1RW / sums_B1RW  # now the probabilities, and minus one at the target their gradient
            logits_BKRW.scatter_add_(1, targets_B1RW, -counts_B1RW.to(logits_BKRW.dtype))
            gradient_NhW[:, first:last] += strip_Rh.T @ logits_NRW
        count = (labels_BHW != ignore_label).sum().clamp(min=1)
        ctx.save_for_backward((gradient_NhW @ columns_Ww / count).view_as(logits_BKhw).to(logits_BKhw.dtype))
        return total / count

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient_BKhw,) = ctx.saved_tensors
        return gradient_BKhw * upstream[0], None, None


def _touched(strip_Rh: Tensor, start: int, height_px: int) -> tuple[Tensor, int, int]:
    """The columns of a strip of the row matrix that are not zero, and where they begin and end."""
    size = strip_Rh.shape[1]
    scale = (size - 1) / max(height_px - 1, 1)
    first = min(int(start * scale), size - 1)
    last = min(int((start + len(strip_Rh) - 1) * scale) + 2, size)
    return strip_Rh[:, first:last], first, last


@lru_cache(maxsize=16)
def _bilinear(out: int, size: int, device: torch.device) -> Tensor:
    """The (out, size) matrix that resizes a line with corners aligned."""
    lines_1ss = torch.eye(size, dtype=torch.float64)[None]
    resized = F.interpolate(lines_1ss, size=out, mode="linear", align_corners=True)[0].T
    return resized.float().contiguous().to(device)
