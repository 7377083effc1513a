"""The depthwise convolution of an atrous branch with its batch norm and ReLU, as Triton kernels on maps with channels last.

Rates are arguments and not compiled in, so that the next cell costs no compilation. A lane of a tile walks down a map from row
to row of one chain, whose rows are a rate apart: of the three rows that an output sees it has two already, and loads three
values instead of nine. How far it walks, and so how many lanes there are, is one of the shapes that a GPU chooses from.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from models.kernels.batch_norm import (
    add_up,
    arrivals_of,
    as_maps,
    as_rows,
    backward,
    finish_statistics,
    is_last_to_arrive,
    normalise,
    with_value,
)
from models.kernels.shapes import CHANNELS, Choice, Shape

_SIZES = ("lanes", "rows", "height", "width", "rate_h", "rate_w", "chains", "walks", "steps")
"""Arguments whose values compile no kernel anew."""


@dataclass(frozen=True)
class Walk(Shape):
    """Of a program that takes tiles of lanes, each of which walks ``steps`` outputs down a chain."""

    steps: int = 1


CONVOLVE = Choice((Walk(8, 4, steps=8), Walk(16, 16, 8), Walk(16, 2, 8, steps=8), Walk(16, 4, 8, steps=4)))
CORRELATE = Choice((Walk(8, 4, steps=8), Walk(16, 16, 8), Walk(16, 2, 8, steps=8), Walk(16, 4, 8, steps=4)))
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
        values_NC, statistics_2C = convolved(features_BCHW, weight_9C, rate, norm)
        ctx.save_for_backward(features_BCHW, weight_9C, values_NC, statistics_2C, gamma_C, beta_C)
        ctx.rate, ctx.norm = rate, norm
        output_NC = torch.empty_like(values_NC)
        normalise(values_NC, statistics_2C, gamma_C, beta_C, output_NC)
        return as_maps(output_NC, features_BCHW)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor, None, None]:
        features_BCHW, weight_9C, *of_norm = ctx.saved_tensors
        of_values_NC, of_gamma_C, of_beta_C = backward(ctx.norm, as_rows(upstream[0]), None, *of_norm)
        of_weight_C1RS = weight_gradient(features_BCHW, of_values_NC, ctx.rate, ctx.norm)
        of_features_BCHW = None
        if ctx.needs_input_grad[0]:
            of_features_NC, _ = convolved(as_maps(of_values_NC, features_BCHW), weight_9C, ctx.rate, None)
            of_features_BCHW = as_maps(of_features_NC, features_BCHW)
        return of_features_BCHW, of_weight_C1RS, of_gamma_C, of_beta_C, None, None


def convolved(
    features_BCHW: Tensor, weight_9C: Tensor, rate: tuple[int, int], norm: nn.BatchNorm2d | None
) -> tuple[Tensor, Tensor]:
    """The convolution as a matrix, of the features' type, and its channels' mean and reciprocal deviation.

    Args:
        norm: whose running statistics follow; None convolves with the mirrored weights, and the statistics are not found.
    """
    channels = features_BCHW.shape[1]
    features_NC = as_rows(features_BCHW)
    grid, sizes = _walks(features_BCHW, rate, CONVOLVE.chosen)
    output_NC = torch.empty_like(features_NC)
    statistics_2C = torch.empty((2, channels), dtype=torch.float32, device=features_NC.device)
    if norm is None:
        of_norm = (None,) * 5
    else:
        parts_P3C = torch.empty((grid[0], 3, channels), dtype=torch.float32, device=features_NC.device)
        of_norm = (parts_P3C, arrivals_of(norm), statistics_2C, norm.running_mean, norm.running_var)
    _convolve[grid](
        features_NC, weight_9C, output_NC, *of_norm, *sizes,
        norm.momentum if norm else 0.0, norm.eps if norm else 0.0, IS_FORWARD=norm is not None, **CONVOLVE.chosen.options,
    )  # fmt: skip
    return output_NC, statistics_2C


def weight_gradient(features_BCHW: Tensor, gradient_NC: Tensor, rate: tuple[int, int], norm: nn.BatchNorm2d) -> Tensor:
    channels = features_BCHW.shape[1]
    grid, sizes = _walks(features_BCHW, rate, CORRELATE.chosen)
    parts_P9C = torch.empty((grid[0], 9, channels), dtype=torch.float32, device=gradient_NC.device)
    of_weight_C1RS = torch.empty((channels, 1, 3, 3), dtype=torch.float32, device=gradient_NC.device)
    _correlate[grid](
        as_rows(features_BCHW), gradient_NC, parts_P9C, arrivals_of(norm), of_weight_C1RS, *sizes, **CORRELATE.chosen.options
    )
    return of_weight_C1RS


def _walks(maps_BCHW: Tensor, rate: tuple[int, int], shape: Walk) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Programs, and the sizes that kernels ask for, from lanes and pixels of all maps to walks down a chain and their steps."""
    batch, channels, height, width = maps_BCHW.shape
    rate_h, rate_w = rate
    chains = min(rate_h, height)
    steps = min(shape.steps, triton.cdiv(height, rate_h))
    walks = triton.cdiv(triton.cdiv(height, rate_h), steps)
    lanes = batch * walks * chains * width
    grid = triton.cdiv(lanes, shape.part_rows), triton.cdiv(channels, CHANNELS)
    return grid, (lanes, batch * height * width, channels, height, width, rate_h, rate_w, chains, walks, steps)


@triton.jit
def _lanes(number, lanes, height, width, rate_h, chains, walks, steps, ROWS: tl.constexpr):
    """Of a tile's lanes: image, row of the first output and column; a lane that does not exist is a rate beyond the map."""
    lane = number * ROWS + tl.arange(0, ROWS)
    x = lane % width
    chain = lane // width % chains
    walk = lane // (width * chains) % walks
    y = tl.where(lane < lanes, chain + walk * steps * rate_h, height + rate_h)
    return lane // (width * chains * walks), y, x


@triton.jit
def _place(image, y, x, channel, height, width, channels):
    """Of each lane's value in each channel; within an image 32 bits are enough."""
    return (image.to(tl.int64) * height * width * channels)[:, None] + ((y * width + x) * channels)[:, None] + channel[None, :]


@triton.jit
def _seen(features, image, y, x, channel, channels, height, width, rate_w):
    """What three taps see of a row of the features, left to right; 0 beyond the map."""
    seen = ()
    for tap in tl.static_range(3):
        column = x + (tap - 1) * rate_w
        is_there = (y >= 0) & (y < height) & (column >= 0) & (column < width)
        place = _place(image, y, column, channel, height, width, channels)
        seen = seen + (tl.load(features + place, mask=is_there[:, None] & (channel < channels)[None, :], other=0.0),)
    return seen


@triton.jit
def _weighted(seen, weight, row, channel, channels, IS_FORWARD: tl.constexpr):
    """What three taps of a row of the kernel make of what they see."""
    total = tl.zeros(seen[0].shape, tl.float32)
    for tap in tl.static_range(3):
        number = 3 * row + tap
        weights = weight + (number if IS_FORWARD else 8 - number) * channels
        by = tl.load(weights + channel, mask=channel < channels, other=0.0).to(tl.float32)
        total += by[None, :] * seen[tap].to(tl.float32)
    return total


@triton.jit(do_not_specialize=_SIZES)
def _convolve(
    features, weight, output, parts, arrivals, statistics, running_mean, running_var,
    lanes, rows, channels, height, width, rate_h, rate_w, chains, walks, steps, momentum, eps, IS_FORWARD: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    mean = tl.zeros((ROWS, CHANNELS), tl.float32)
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    seen = tl.zeros((ROWS,), tl.float32)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = (channel < channels)[None, :]
    for number in range(TILES):
        image, y, x = _lanes(tl.program_id(0) * TILES + number, lanes, height, width, rate_h, chains, walks, steps, ROWS)
        above = _seen(features, image, y - rate_h, x, channel, channels, height, width, rate_w)
        here = _seen(features, image, y, x, channel, channels, height, width, rate_w)
        for _step in range(steps):
            below = _seen(features, image, y + rate_h, x, channel, channels, height, width, rate_w)
            total = _weighted(above, weight, 0, channel, channels, IS_FORWARD)
            total += _weighted(here, weight, 1, channel, channels, IS_FORWARD)
            total += _weighted(below, weight, 2, channel, channels, IS_FORWARD)
            rounded = total.to(output.dtype.element_ty)
            is_there = y < height
            place = _place(image, y, x, channel, height, width, channels)
            tl.store(output + place, rounded, mask=is_there[:, None] & is_channel)
            if IS_FORWARD:
                mean, squares, seen = with_value(mean, squares, seen, rounded.to(tl.float32), is_there)
            above, here, y = here, below, y + rate_h
    if IS_FORWARD:
        finish_statistics(
            mean, squares, seen, parts, arrivals, statistics, running_mean, running_var, rows, channels, channel, momentum, eps,
            CHANNELS, PARTS,
        )  # fmt: skip


@triton.jit
def _with_products(sums, upstream, seen, row):
    """The nine sums, of which three taps' grow."""
    further = ()
    for tap in tl.static_range(9):
        if tap // 3 == row:
            further = further + (sums[tap] + upstream * seen[tap % 3].to(tl.float32),)
        else:
            further = further + (sums[tap],)
    return further


@triton.jit(do_not_specialize=_SIZES)
def _correlate(
    features, gradient, parts, arrivals, of_weight, lanes, rows, channels, height, width, rate_h, rate_w, chains, walks, steps,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The weights' gradient: what each tap sees times the gradient of the output there."""
    sums = ()
    for _tap in tl.static_range(9):
        sums = sums + (tl.zeros((ROWS, CHANNELS), tl.float32),)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = channel < channels
    for number in range(TILES):
        image, y, x = _lanes(tl.program_id(0) * TILES + number, lanes, height, width, rate_h, chains, walks, steps, ROWS)
        above = _seen(features, image, y - rate_h, x, channel, channels, height, width, rate_w)
        here = _seen(features, image, y, x, channel, channels, height, width, rate_w)
        for _step in range(steps):
            below = _seen(features, image, y + rate_h, x, channel, channels, height, width, rate_w)
            place = _place(image, y, x, channel, height, width, channels)
            upstream = tl.load(gradient + place, mask=(y < height)[:, None] & is_channel[None, :], other=0.0).to(tl.float32)
            sums = _with_products(sums, upstream, above, 0)
            sums = _with_products(sums, upstream, here, 1)
            sums = _with_products(sums, upstream, below, 2)
            above, here, y = here, below, y + rate_h
    mine = parts + tl.program_id(0) * 9 * channels + channel
    for tap in tl.static_range(9):
        tl.store(mine + tap * channels, tl.sum(sums[tap], axis=0), mask=is_channel)
    if is_last_to_arrive(arrivals):
        for tap in tl.static_range(9):
            of_tap = add_up(parts + tap * channels, channel, tl.num_programs(0), 9 * channels, channels, CHANNELS, PARTS)
            tl.store(of_weight + channel * 9 + tap, of_tap, mask=is_channel)
