"""The depthwise convolution of an atrous branch."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AtrousDepthwise(nn.Conv2d):
    """A 3x3 convolution of each channel alone, dilated by ``rate`` (rows, columns), as large at its end as before.

    Training on a CPU takes a way of its own: torch's is slow there, and in bfloat16 with channels last its gradients are
    garbage (docs/log.md).
    """

    def __init__(self, channels: int, rate: tuple[int, int]) -> None:
        super().__init__(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        if not self.training or features_BCHW.device.type != "cpu":
            return super().forward(features_BCHW)
        weight_C1RS = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            features_BCHW, weight_C1RS = features_BCHW.to(dtype), weight_C1RS.to(dtype)
        return _AtrousDepthwise.apply(features_BCHW, weight_C1RS, self.dilation)


class _AtrousDepthwise(torch.autograd.Function):
    """Equal to ``F.conv2d`` and its gradients up to the order of summation."""

    @staticmethod
    def forward(ctx: Any, features_BCHW: Tensor, weight_C1RS: Tensor, rate: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(features_BCHW, weight_C1RS)
        ctx.rate = rate
        return _convolve(features_BCHW, weight_C1RS, rate)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor, None]:
        features_BCHW, weight_C1RS = ctx.saved_tensors
        (gradient_BCHW,) = upstream
        of_features_BCHW = _convolve(gradient_BCHW, weight_C1RS.flip(-1, -2), ctx.rate) if ctx.needs_input_grad[0] else None
        of_weight_C1RS = torch.zeros_like(weight_C1RS, dtype=torch.float32)
        for features_CHW, gradient_CHW in zip(features_BCHW.float(), gradient_BCHW.float(), strict=True):  # fits the cache
            for tap, seen, reached in _taps(features_CHW, gradient_CHW, ctx.rate):
                of_weight_C1RS[:, 0, *tap] += (seen * reached).sum((-1, -2))
        return of_features_BCHW, of_weight_C1RS.to(weight_C1RS.dtype), None


def _convolve(features_BCHW: Tensor, weight_C1RS: Tensor, rate: tuple[int, int]) -> Tensor:
    return F.conv2d(features_BCHW, weight_C1RS, padding=rate, dilation=rate, groups=len(weight_C1RS))


def _taps(features_CHW: Tensor, outputs_CHW: Tensor, rate: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Tensor, Tensor]]:
    """For each of the nine taps its place, the features it sees, and the outputs that these reach."""
    height, width = outputs_CHW.shape[1:]
    for row, column in product(range(3), repeat=2):
        seen_rows, reached_rows = _overlap(height, (row - 1) * rate[0])
        seen_columns, reached_columns = _overlap(width, (column - 1) * rate[1])
        yield (row, column), features_CHW[:, seen_rows, seen_columns], outputs_CHW[:, reached_rows, reached_columns]


def _overlap(size: int, offset: int) -> tuple[slice, slice]:
    """The part of a line that lies on the line again when moved by ``-offset``: before and after."""
    if abs(offset) >= size:
        return slice(0), slice(0)
    start, stop = max(0, -offset), min(size, size - offset)
    return slice(start + offset, stop + offset), slice(start, stop)
