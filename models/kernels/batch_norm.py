"""Batch norm and ReLU in training, as Triton kernels on matrices of rows (pixels) by channels.

Statistics are found part by part as (mean, sum of squared differences) and merged by Chan et al.'s formula, in fixed order: no
atomics, and no cancellation when a mean is large against its deviation. Parts come from the epilogue of what makes the values
(``models.kernels.atrous``) or from a pass of their own.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

ROWS, CHANNELS = 64, 64
"""Of a program's tile: 128 bytes of half precision in a row are one memory transaction."""
_PARTS = 64
"""Parts that are merged at a time."""


def parts_of(rows: int) -> int:
    """How many parts the statistics of so many rows have."""
    return triton.cdiv(rows, ROWS)


def batch_norm_relu(values_BCHW: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """ReLU of the batch norm of ``values_BCHW`` in training mode, with gradients; channels last, of the values' type.

    Running statistics are updated in place, as torch does.
    """
    output: Tensor = _BatchNormReLU.apply(values_BCHW, norm.weight, norm.bias, norm)
    return output


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_BCHW: Tensor, gamma_C: Tensor, beta_C: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        values_NC = as_rows(values_BCHW)
        statistics_2C = finalise(measure(values_NC), len(values_NC), ROWS, norm)
        ctx.save_for_backward(values_NC, statistics_2C, gamma_C, beta_C)
        return as_maps(normalise(values_NC, statistics_2C, gamma_C, beta_C), values_BCHW)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient_BCHW,) = upstream
        of_values_NC, of_gamma_C, of_beta_C = backward(as_rows(gradient_BCHW), *ctx.saved_tensors)
        return as_maps(of_values_NC, gradient_BCHW), of_gamma_C, of_beta_C, None


def as_rows(maps_BCHW: Tensor) -> Tensor:
    """A (pixels, channels) matrix; a view of a map with channels last."""
    return maps_BCHW.permute(0, 2, 3, 1).reshape(-1, maps_BCHW.shape[1]).contiguous()


def as_maps(rows_NC: Tensor, like_BCHW: Tensor) -> Tensor:
    """The matrix as maps with channels last."""
    batch, _, height, width = like_BCHW.shape
    return rows_NC.view(batch, height, width, -1).permute(0, 3, 1, 2)


def measure(values_NC: Tensor) -> Tensor:
    """Mean and sum of squared differences of each part of ``ROWS`` rows, (parts, 2, C)."""
    rows, channels = values_NC.shape
    parts_P2C = torch.empty((parts_of(rows), 2, channels), dtype=torch.float32, device=values_NC.device)
    _measure[_grid(rows, channels)](values_NC, parts_P2C, rows, channels, ROWS=ROWS, CHANNELS=CHANNELS)
    return parts_P2C


def finalise(parts_P2C: Tensor, rows: int, part_rows: int, norm: nn.BatchNorm2d) -> Tensor:
    """Mean and reciprocal deviation of each channel, (2, C), from parts of ``part_rows`` rows each; the last may be shorter."""
    parts, _, channels = parts_P2C.shape
    statistics_2C = torch.empty((2, channels), dtype=torch.float32, device=parts_P2C.device)
    _finalise[(triton.cdiv(channels, 16),)](
        parts_P2C, statistics_2C, norm.running_mean, norm.running_var, parts, rows, part_rows, channels,
        norm.momentum, norm.eps, PARTS=_PARTS, CHANNELS=16,
    )  # fmt: skip
    return statistics_2C


def normalise(values_NC: Tensor, statistics_2C: Tensor, gamma_C: Tensor, beta_C: Tensor) -> Tensor:
    """ReLU of the normalised values, of their type."""
    rows, channels = values_NC.shape
    output_NC = torch.empty_like(values_NC)
    _normalise[_grid(rows, channels)](
        values_NC, statistics_2C, gamma_C, beta_C, output_NC, rows, channels, ROWS=ROWS, CHANNELS=CHANNELS
    )
    return output_NC


def backward(
    gradient_NC: Tensor, values_NC: Tensor, statistics_2C: Tensor, gamma_C: Tensor, beta_C: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, gamma and beta, given that of the output."""
    rows, channels = values_NC.shape
    parts_P2C = torch.empty((parts_of(rows), 2, channels), dtype=torch.float32, device=values_NC.device)
    _reduce_gradient[_grid(rows, channels)](
        gradient_NC, values_NC, statistics_2C, gamma_C, beta_C, parts_P2C, rows, channels, ROWS=ROWS, CHANNELS=CHANNELS
    )
    sums_2C = parts_P2C.sum(dim=0)
    of_values_NC = torch.empty_like(values_NC)
    _gradient[_grid(rows, channels)](
        gradient_NC, values_NC, statistics_2C, gamma_C, beta_C, sums_2C, of_values_NC, rows, channels,
        ROWS=ROWS, CHANNELS=CHANNELS,
    )  # fmt: skip
    return of_values_NC, sums_2C[0], sums_2C[1]


def _grid(rows: int, channels: int) -> tuple[int, int]:
    return triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS)


@triton.jit
def part_statistics(tile, is_inside, count):
    """Mean and sum of squared differences of a tile's columns, over its first ``count`` rows."""
    mean = tl.sum(tl.where(is_inside, tile, 0.0), axis=0) / count
    difference = tl.where(is_inside, tile - mean[None, :], 0.0)
    return mean, tl.sum(difference * difference, axis=0)


@triton.jit
def _tile(rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """The program's channels, the places of its values, and which of them exist."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_inside = (row < rows)[:, None] & (channel < channels)[None, :]
    return channel, row[:, None] * channels + channel[None, :], is_inside


@triton.jit
def _standardised(values, statistics, place, is_inside, channel, channels):
    """Values without mean and deviation, and the reciprocal deviation."""
    is_channel = channel < channels
    mean = tl.load(statistics + channel, mask=is_channel, other=0.0)
    scale = tl.load(statistics + channels + channel, mask=is_channel, other=0.0)
    value = tl.load(values + place, mask=is_inside, other=0.0).to(tl.float32)
    return (value - mean[None, :]) * scale[None, :], scale


@triton.jit
def _measure(values, parts, rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    channel, place, is_inside = _tile(rows, channels, ROWS, CHANNELS)
    tile = tl.load(values + place, mask=is_inside, other=0.0).to(tl.float32)
    count = tl.minimum(rows - tl.program_id(0) * ROWS, ROWS)
    mean, squares = part_statistics(tile, is_inside, count)
    target = parts + tl.program_id(0) * 2 * channels + channel
    tl.store(target, mean, mask=channel < channels)
    tl.store(target + channels, squares, mask=channel < channels)


@triton.jit
def _finalise(
    parts, statistics, running_mean, running_var, num_parts, rows, part_rows, channels, momentum, eps,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The parts' means are averaged first; squares are then moved to that mean."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = channel < channels
    total = tl.zeros((CHANNELS,), tl.float32)
    for first in range(0, num_parts, PARTS):
        part = first + tl.arange(0, PARTS)
        is_there = (part < num_parts)[:, None] & is_channel[None, :]
        count = tl.minimum(rows - part * part_rows, part_rows).to(tl.float32)
        means = tl.load(parts + part[:, None] * 2 * channels + channel[None, :], mask=is_there, other=0.0)
        total += tl.sum(tl.where(is_there, means * count[:, None], 0.0), axis=0)
    mean = total / rows
    squares = tl.zeros((CHANNELS,), tl.float32)
    for first in range(0, num_parts, PARTS):
        part = first + tl.arange(0, PARTS)
        is_there = (part < num_parts)[:, None] & is_channel[None, :]
        count = tl.minimum(rows - part * part_rows, part_rows).to(tl.float32)
        place = part[:, None] * 2 * channels + channel[None, :]
        difference = tl.load(parts + place, mask=is_there, other=0.0) - mean[None, :]
        within = tl.load(parts + place + channels, mask=is_there, other=0.0)
        squares += tl.sum(tl.where(is_there, within + difference * difference * count[:, None], 0.0), axis=0)
    tl.store(statistics + channel, mean, mask=is_channel)
    tl.store(statistics + channels + channel, 1.0 / tl.sqrt(squares / rows + eps), mask=is_channel)
    old_mean = tl.load(running_mean + channel, mask=is_channel, other=0.0)
    old_var = tl.load(running_var + channel, mask=is_channel, other=0.0)
    unbiased = squares / tl.maximum(rows - 1, 1)
    tl.store(running_mean + channel, old_mean + momentum * (mean - old_mean), mask=is_channel)
    tl.store(running_var + channel, old_var + momentum * (unbiased - old_var), mask=is_channel)


@triton.jit
def _normalise(values, statistics, gamma, beta, output, rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    channel, place, is_inside = _tile(rows, channels, ROWS, CHANNELS)
    standard, _ = _standardised(values, statistics, place, is_inside, channel, channels)
    weight = tl.load(gamma + channel, mask=channel < channels, other=0.0)
    bias = tl.load(beta + channel, mask=channel < channels, other=0.0)
    result = standard * weight[None, :] + bias[None, :]
    # a maximum would turn what is no number into 0
    tl.store(output + place, tl.where(result < 0, 0.0, result).to(output.dtype.element_ty), mask=is_inside)


@triton.jit
def _passed(gradient, standard, gamma, beta, place, is_inside, channel, channels):
    """The gradient that comes through the ReLU, and gamma."""
    weight = tl.load(gamma + channel, mask=channel < channels, other=0.0)
    bias = tl.load(beta + channel, mask=channel < channels, other=0.0)
    upstream = tl.load(gradient + place, mask=is_inside, other=0.0).to(tl.float32)
    return tl.where(standard * weight[None, :] + bias[None, :] > 0, upstream, 0.0), weight


@triton.jit
def _reduce_gradient(
    gradient, values, statistics, gamma, beta, parts, rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """A part's share of the gradients of gamma and beta."""
    channel, place, is_inside = _tile(rows, channels, ROWS, CHANNELS)
    standard, _ = _standardised(values, statistics, place, is_inside, channel, channels)
    upstream, _ = _passed(gradient, standard, gamma, beta, place, is_inside, channel, channels)
    target = parts + tl.program_id(0) * 2 * channels + channel
    tl.store(target, tl.sum(upstream * standard, axis=0), mask=channel < channels)
    tl.store(target + channels, tl.sum(upstream, axis=0), mask=channel < channels)


@triton.jit
def _gradient(
    gradient, values, statistics, gamma, beta, sums, output, rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    channel, place, is_inside = _tile(rows, channels, ROWS, CHANNELS)
    standard, scale = _standardised(values, statistics, place, is_inside, channel, channels)
    upstream, weight = _passed(gradient, standard, gamma, beta, place, is_inside, channel, channels)
    of_gamma = tl.load(sums + channel, mask=channel < channels, other=0.0) / rows
    of_beta = tl.load(sums + channels + channel, mask=channel < channels, other=0.0) / rows
    result = (upstream - of_beta[None, :] - standard * of_gamma[None, :]) * (scale * weight)[None, :]
    tl.store(output + place, result.to(output.dtype.element_ty), mask=is_inside)
