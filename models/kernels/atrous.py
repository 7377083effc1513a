"""The depthwise convolution of an atrous branch with its batch norm and ReLU, as Triton kernels on maps with channels last.

Rates are arguments and not compiled in, so that the next cell costs no compilation. A program takes 64 pixels of 64 channels:
1,204 programs for 8 x 49x49x256. The nine taps read each value nine times, eight of them from the second-level cache.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from models.kernels.batch_norm import (
    CHANNELS,
    ROWS,
    as_maps,
    as_rows,
    backward,
    batch_norm_relu,
    finalise,
    normalise,
    part_statistics,
    parts_of,
)

__all__ = ["atrous_batch_norm_relu", "batch_norm_relu"]


def atrous_batch_norm_relu(features_BCHW: Tensor, weight_C1RS: Tensor, rate: tuple[int, int], norm: nn.BatchNorm2d) -> Tensor:
    """ReLU of the batch norm of the 3x3 depthwise convolution dilated by ``rate``, in training mode and with gradients.

    Args:
        features_BCHW: any float type; channels last, or they are made so.

    Returns:
        Maps of the same size and type, channels last.
    """
    output: Tensor = _AtrousBatchNormReLU.apply(features_BCHW, weight_C1RS, norm.weight, norm.bias, rate, norm)
    return output


class _AtrousBatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features_BCHW: Tensor,
        weight_C1RS: Tensor,
        gamma_C: Tensor,
        beta_C: Tensor,
        rate: tuple[int, int],
        norm: nn.BatchNorm2d,
    ) -> Tensor:
        features_BCHW = features_BCHW.contiguous(memory_format=torch.channels_last)
        weight_9C = weight_C1RS.detach().flatten(1).T.contiguous()
        values_NC, parts_P2C = _convolve(features_BCHW, weight_9C, rate)
        statistics_2C = finalise(parts_P2C, len(values_NC), ROWS, norm)
        ctx.save_for_backward(features_BCHW, weight_9C, values_NC, statistics_2C, gamma_C, beta_C)
        ctx.rate = rate
        return as_maps(normalise(values_NC, statistics_2C, gamma_C, beta_C), features_BCHW)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor, None, None]:
        features_BCHW, weight_9C, *of_norm = ctx.saved_tensors
        of_values_NC, of_gamma_C, of_beta_C = backward(as_rows(upstream[0]), *of_norm)
        of_weight_9C = _weight_gradient(features_BCHW, of_values_NC, ctx.rate)
        of_features_BCHW = None
        if ctx.needs_input_grad[0]:
            of_features_NC, _ = _convolve(as_maps(of_values_NC, features_BCHW), weight_9C.flip(0), ctx.rate)
            of_features_BCHW = as_maps(of_features_NC, features_BCHW)
        return of_features_BCHW, of_weight_9C.T.reshape(-1, 1, 3, 3), of_gamma_C, of_beta_C, None, None


def _convolve(features_BCHW: Tensor, weight_9C: Tensor, rate: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The convolution as a matrix, of the features' type, and the statistics of its parts."""
    _, channels, height, width = features_BCHW.shape
    features_NC = as_rows(features_BCHW)
    rows = len(features_NC)
    output_NC = torch.empty_like(features_NC)
    parts_P2C = torch.empty((parts_of(rows), 2, channels), dtype=torch.float32, device=features_NC.device)
    _convolve_kernel[(parts_of(rows), triton.cdiv(channels, CHANNELS))](
        features_NC, weight_9C, output_NC, parts_P2C, rows, channels, height, width, *rate, ROWS=ROWS, CHANNELS=CHANNELS
    )
    return output_NC, parts_P2C


def _weight_gradient(features_BCHW: Tensor, gradient_NC: Tensor, rate: tuple[int, int]) -> Tensor:
    _, channels, height, width = features_BCHW.shape
    rows = len(gradient_NC)
    parts_P9C = torch.empty((parts_of(rows), 9, channels), dtype=torch.float32, device=gradient_NC.device)
    _weight_gradient_kernel[(parts_of(rows), triton.cdiv(channels, CHANNELS))](
        as_rows(features_BCHW), gradient_NC, parts_P9C, rows, channels, height, width, *rate, ROWS=ROWS, CHANNELS=CHANNELS
    )
    return parts_P9C.sum(dim=0)


@triton.jit
def _seen(features, row, channel, tap, rows, channels, height, width, rate_h, rate_w):
    """What a tap sees of the features, for each of the output's rows; 0 beyond the map."""
    down, along = (tap // 3 - 1) * rate_h, (tap % 3 - 1) * rate_w
    y, x = (row // width) % height + down, row % width + along
    is_there = (row < rows) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    place = (row + down * width + along)[:, None] * channels + channel[None, :]
    return tl.load(features + place, mask=is_there[:, None] & (channel < channels)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _convolve_kernel(
    features, weight, output, parts, rows, channels, height, width, rate_h, rate_w,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = channel < channels
    is_inside = (row < rows)[:, None] & is_channel[None, :]
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    for tap in range(9):
        by = tl.load(weight + tap * channels + channel, mask=is_channel, other=0.0).to(tl.float32)
        total += by[None, :] * _seen(features, row, channel, tap, rows, channels, height, width, rate_h, rate_w)
    rounded = total.to(output.dtype.element_ty)
    tl.store(output + row[:, None] * channels + channel[None, :], rounded, mask=is_inside)
    count = tl.minimum(rows - tl.program_id(0) * ROWS, ROWS)
    mean, squares = part_statistics(rounded.to(tl.float32), is_inside, count)
    target = parts + tl.program_id(0) * 2 * channels + channel
    tl.store(target, mean, mask=is_channel)
    tl.store(target + channels, squares, mask=is_channel)


@triton.jit
def _weight_gradient_kernel(
    features, gradient, parts, rows, channels, height, width, rate_h, rate_w, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = channel < channels
    is_inside = (row < rows)[:, None] & is_channel[None, :]
    upstream = tl.load(gradient + row[:, None] * channels + channel[None, :], mask=is_inside, other=0.0).to(tl.float32)
    target = parts + tl.program_id(0) * 9 * channels + channel
    for tap in range(9):
        seen = _seen(features, row, channel, tap, rows, channels, height, width, rate_h, rate_w)
        tl.store(target + tap * channels, tl.sum(upstream * seen, axis=0), mask=is_channel)
