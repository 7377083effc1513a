"""The depthwise convolution of an atrous branch with its batch norm and ReLU, as Triton kernels on maps with channels last.

Rates are arguments and not compiled in, so that the next cell costs no compilation. The loads of a tile's nine taps wait
together; of a row of the map, what three taps read is in the multiprocessor's own cache after the first.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from models.kernels.batch_norm import (
    Shape,
    add_up,
    arrivals_of,
    as_maps,
    as_rows,
    backward,
    finish_statistics,
    grid_of,
    is_last_to_arrive,
    normalise,
    tile,
    with_tile,
)

_SIZES = ("rows", "height", "width", "rate_h", "rate_w")
"""Arguments whose values compile no kernel anew."""
CONVOLVE = Shape(16, 16)
CORRELATE = Shape(16, 16)
"""The weights' gradient keeps nine sums for each place of a tile."""


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
        values_NC, statistics_2C = _convolved(features_BCHW, weight_9C, rate, norm)
        ctx.save_for_backward(features_BCHW, weight_9C, values_NC, statistics_2C, gamma_C, beta_C)
        ctx.rate, ctx.norm = rate, norm
        return as_maps(normalise(values_NC, statistics_2C, gamma_C, beta_C), features_BCHW)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor, None, None]:
        features_BCHW, weight_9C, *of_norm = ctx.saved_tensors
        of_values_NC, of_gamma_C, of_beta_C = backward(ctx.norm, as_rows(upstream[0]), *of_norm)
        of_weight_C1RS = _weight_gradient(features_BCHW, of_values_NC, ctx.rate, ctx.norm)
        of_features_BCHW = None
        if ctx.needs_input_grad[0]:
            of_features_NC, _ = _convolved(as_maps(of_values_NC, features_BCHW), weight_9C, ctx.rate, None)
            of_features_BCHW = as_maps(of_features_NC, features_BCHW)
        return of_features_BCHW, of_weight_C1RS, of_gamma_C, of_beta_C, None, None


def _convolved(
    features_BCHW: Tensor, weight_9C: Tensor, rate: tuple[int, int], norm: nn.BatchNorm2d | None
) -> tuple[Tensor, Tensor]:
    """The convolution as a matrix, of the features' type, and its channels' mean and reciprocal deviation.

    Args:
        norm: whose running statistics follow; None convolves with the mirrored weights, and the statistics are not found.
    """
    _, channels, height, width = features_BCHW.shape
    features_NC = as_rows(features_BCHW)
    rows = len(features_NC)
    grid = grid_of(rows, channels, CONVOLVE)
    output_NC = torch.empty_like(features_NC)
    statistics_2C = torch.empty((2, channels), dtype=torch.float32, device=features_NC.device)
    if norm is None:
        of_norm = (None,) * 5
    else:
        parts_P2C = torch.empty((grid[0], 2, channels), dtype=torch.float32, device=features_NC.device)
        of_norm = (parts_P2C, arrivals_of(norm), statistics_2C, norm.running_mean, norm.running_var)
    _convolve[grid](
        features_NC, weight_9C, output_NC, *of_norm, rows, channels, height, width, *rate,
        norm.momentum if norm else 0.0, norm.eps if norm else 0.0,
        IS_FORWARD=norm is not None, **CONVOLVE.options,
    )  # fmt: skip
    return output_NC, statistics_2C


def _weight_gradient(features_BCHW: Tensor, gradient_NC: Tensor, rate: tuple[int, int], norm: nn.BatchNorm2d) -> Tensor:
    _, channels, height, width = features_BCHW.shape
    rows = len(gradient_NC)
    grid = grid_of(rows, channels, CORRELATE)
    parts_P9C = torch.empty((grid[0], 9, channels), dtype=torch.float32, device=gradient_NC.device)
    of_weight_C1RS = torch.empty((channels, 1, 3, 3), dtype=torch.float32, device=gradient_NC.device)
    _correlate[grid](
        as_rows(features_BCHW), gradient_NC, parts_P9C, arrivals_of(norm), of_weight_C1RS, rows, channels, height, width, *rate,
        **CORRELATE.options,
    )  # fmt: skip
    return of_weight_C1RS


@triton.jit
def _seen(features, place, row, channel, tap, rows, channels, height, width, rate_h, rate_w):
    """What a tap sees of the features, for each of the output's rows; 0 beyond the map."""
    down, along = (tap // 3 - 1) * rate_h, (tap % 3 - 1) * rate_w
    y, x = (row // width) % height + down, row % width + along
    is_there = (row < rows) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    moved = features + place + (down * width + along) * channels
    return tl.load(moved, mask=is_there[:, None] & (channel < channels)[None, :], other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=_SIZES)
def _convolve(
    features, weight, output, parts, arrivals, statistics, running_mean, running_var,
    rows, channels, height, width, rate_h, rate_w, momentum, eps,
    IS_FORWARD: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    mean = tl.zeros((ROWS, CHANNELS), tl.float32)
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    for step in range(TILES):
        row, channel, place, is_inside = tile(tl.program_id(0) * TILES + step, rows, channels, ROWS, CHANNELS)
        total = tl.zeros((ROWS, CHANNELS), tl.float32)
        for tap in tl.static_range(9):
            weights = weight + (tap if IS_FORWARD else 8 - tap) * channels
            by = tl.load(weights + channel, mask=channel < channels, other=0.0).to(tl.float32)
            total += by[None, :] * _seen(features, place, row, channel, tap, rows, channels, height, width, rate_h, rate_w)
        rounded = total.to(output.dtype.element_ty)
        tl.store(output + place, rounded, mask=is_inside)
        if IS_FORWARD:
            mean, squares = with_tile(mean, squares, rounded.to(tl.float32), is_inside, step)
    if IS_FORWARD:
        channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
        finish_statistics(
            mean, squares, parts, arrivals, statistics, running_mean, running_var, rows, channels, channel, momentum, eps,
            ROWS, CHANNELS, TILES, PARTS,
        )  # fmt: skip


@triton.jit(do_not_specialize=_SIZES)
def _correlate(
    features, gradient, parts, arrivals, of_weight, rows, channels, height, width, rate_h, rate_w,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The weights' gradient: what each tap sees times the gradient of the output there."""
    sums = ()
    for _ in tl.static_range(9):
        sums = sums + (tl.zeros((ROWS, CHANNELS), tl.float32),)
    for step in range(TILES):
        row, channel, place, is_inside = tile(tl.program_id(0) * TILES + step, rows, channels, ROWS, CHANNELS)
        upstream = tl.load(gradient + place, mask=is_inside, other=0.0).to(tl.float32)
        further = ()
        for tap in tl.static_range(9):
            seen = _seen(features, place, row, channel, tap, rows, channels, height, width, rate_h, rate_w)
            further = further + (sums[tap] + upstream * seen,)
        sums = further
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = channel < channels
    mine = parts + tl.program_id(0) * 9 * channels + channel
    for tap in tl.static_range(9):
        tl.store(mine + tap * channels, tl.sum(sums[tap], axis=0), mask=is_channel)
    if is_last_to_arrive(arrivals):
        for tap in tl.static_range(9):
            of_tap = add_up(parts + tap * channels, channel, tl.num_programs(0), 9 * channels, channels, CHANNELS, PARTS)
            tl.store(of_weight + channel * 9 + tap, of_tap, mask=is_channel)
