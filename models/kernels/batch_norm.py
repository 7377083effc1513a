"""Batch norm and ReLU in training, as Triton kernels on matrices of rows (pixels) by channels.

A program takes a part of the rows of some channels. What all parts together come to is found by the last program to finish, in
the parts' order: no kernel of its own, and the same bits whoever is last. Statistics are means and sums of squared differences
(Welford's and Chan et al.'s formulas), which do not cancel when a mean is large against its deviation.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from models.kernels.dropout import NOWHERE, UNSPECIALISED, Place, drop, strided
from models.kernels.shapes import CHANNELS, Shape

MEASURE = REDUCE = Shape(32, 8)
EACH = Shape(32, 1)
"""Of the kernels that sum nothing."""

_SIZES = ("rows", *UNSPECIALISED)
"""Arguments whose values compile no kernel anew."""
_ARRIVALS: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


def batch_norm_relu(values_BCHW: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """ReLU of the batch norm of ``values_BCHW`` in training mode, with gradients; channels last, of the values' type.

    Running statistics are updated in place, as torch does.
    """
    output, _ = _BatchNormReLU.apply(values_BCHW, norm.weight, norm.bias, norm, None, True)
    assert isinstance(output, Tensor)
    return output


def batch_norm_relu_into(
    values_BCHW: Tensor, norm: nn.BatchNorm2d, place: Place, is_read: bool
) -> tuple[Tensor | None, Tensor]:
    """``batch_norm_relu``, where others read it, and the same with dropout in its place of a concatenation."""
    output, part = _BatchNormReLU.apply(values_BCHW, norm.weight, norm.bias, norm, place, is_read)
    return output, part


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values_BCHW: Tensor,
        gamma_C: Tensor,
        beta_C: Tensor,
        norm: nn.BatchNorm2d,
        place: Place | None,
        is_read: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        values_NC = as_rows(values_BCHW)
        statistics_2C = _measured(values_NC, norm)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(values_NC, statistics_2C, gamma_C, beta_C)
        ctx.norm, ctx.place = norm, place
        output_NC = torch.empty_like(values_NC) if is_read else None
        normalise(values_NC, statistics_2C, gamma_C, beta_C, output_NC, place)
        output_BCHW = as_maps(output_NC, values_BCHW) if output_NC is not None else None
        return output_BCHW, as_maps(place.rows_NC, values_BCHW) if place else None

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        gradient_BCHW, of_part_BCHW = upstream
        gradient_NC = as_rows(gradient_BCHW) if gradient_BCHW is not None else None
        place = ctx.place.of(as_rows_apart(of_part_BCHW)) if of_part_BCHW is not None else None
        of_values_NC, of_gamma_C, of_beta_C = backward(ctx.norm, gradient_NC, place, *ctx.saved_tensors)
        like_BCHW = gradient_BCHW if gradient_BCHW is not None else of_part_BCHW
        assert like_BCHW is not None
        return as_maps(of_values_NC, like_BCHW), of_gamma_C, of_beta_C, None, None, None


def as_rows(maps_BCHW: Tensor) -> Tensor:
    """A (pixels, channels) matrix; a view of maps with channels last."""
    return as_rows_apart(maps_BCHW).contiguous()


def as_rows_apart(maps_BCHW: Tensor) -> Tensor:
    """``as_rows`` whose rows may lie apart: a view of some of the channels, too."""
    rows_NC = maps_BCHW.permute(0, 2, 3, 1).reshape(-1, maps_BCHW.shape[1])
    return rows_NC if rows_NC.stride(1) == 1 else rows_NC.contiguous()


def as_maps(rows_NC: Tensor, like_BCHW: Tensor) -> Tensor:
    """The matrix as maps with channels last."""
    batch, _, height, width = like_BCHW.shape
    return rows_NC.view(batch, height, width, -1).permute(0, 3, 1, 2)


def grid_of(rows: int, channels: int, shape: Shape) -> tuple[int, int]:
    """Parts of the rows, and blocks of channels."""
    return triton.cdiv(rows, shape.part_rows), triton.cdiv(channels, CHANNELS)


def arrivals_of(norm: nn.BatchNorm2d) -> Tensor:
    """Where the kernels of a layer count the programs that have finished, for each block of channels; 0 between two kernels.

    A layer has its own, as the kernels of two trainings may run at the same time.
    """
    arrivals = _ARRIVALS.get(norm)
    if arrivals is None or arrivals.device != norm.weight.device:
        blocks = triton.cdiv(norm.num_features, CHANNELS)
        arrivals = _ARRIVALS[norm] = torch.zeros(blocks, dtype=torch.int32, device=norm.weight.device)
    return arrivals


def _measured(values_NC: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Mean and reciprocal deviation of each channel, (2, C); running statistics follow."""
    rows, channels = values_NC.shape
    grid = grid_of(rows, channels, MEASURE)
    parts_P3C = torch.empty((grid[0], 3, channels), dtype=torch.float32, device=values_NC.device)
    statistics_2C = torch.empty((2, channels), dtype=torch.float32, device=values_NC.device)
    _measure[grid](
        values_NC, parts_P3C, arrivals_of(norm), statistics_2C, norm.running_mean, norm.running_var, rows, channels,
        norm.momentum, norm.eps, **MEASURE.options,
    )  # fmt: skip
    return statistics_2C


def normalise(
    values_NC: Tensor,
    statistics_2C: Tensor,
    gamma_C: Tensor,
    beta_C: Tensor,
    output_NC: Tensor | None,
    place: Place | None = None,
) -> None:
    """Write the ReLU of the normalised values to the output, and with dropout to their place of a concatenation."""
    rows, channels = values_NC.shape
    _normalise[grid_of(rows, channels, EACH)](
        values_NC, statistics_2C, gamma_C, beta_C, output_NC, *(place.arguments if place else NOWHERE), rows, channels,
        **EACH.options,
    )  # fmt: skip


def backward(
    norm: nn.BatchNorm2d,
    gradient_NC: Tensor | None,
    place: Place | None,
    values_NC: Tensor,
    statistics_2C: Tensor,
    gamma_C: Tensor,
    beta_C: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, gamma and beta, given that of the output, that of the concatenation there, or both."""
    rows, channels = values_NC.shape
    grid = grid_of(rows, channels, REDUCE)
    parts_P2C = torch.empty((grid[0], 2, channels), dtype=torch.float32, device=values_NC.device)
    sums_2C = torch.empty_like(parts_P2C[0])
    of_upstream = gradient_NC, *(place.arguments if place else NOWHERE)
    of_layer = values_NC, statistics_2C, gamma_C, beta_C
    _reduce_gradient[grid](
        *of_upstream, *of_layer, parts_P2C, arrivals_of(norm), sums_2C, rows, channels, **REDUCE.options
    )  # fmt: skip
    of_values_NC = torch.empty_like(values_NC)
    _gradient[grid_of(rows, channels, EACH)](
        *of_upstream, *of_layer, sums_2C, of_values_NC, rows, channels, **EACH.options
    )  # fmt: skip
    return of_values_NC, sums_2C[0], sums_2C[1]


@triton.jit
def tile(number, rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """The rows and channels of a tile, the places of its values, and which of them exist."""
    row = number * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_inside = (row < rows)[:, None] & (channel < channels)[None, :]
    first = (number * ROWS).to(tl.int64) * channels  # the rest fits into 32 bits
    return row, channel, first + tl.arange(0, ROWS)[:, None] * channels + channel[None, :], is_inside


@triton.jit
def is_last_to_arrive(arrivals):
    """Whether all other programs of these channels have stored their parts."""
    tl.debug_barrier()  # all threads of this one have
    is_last = tl.atomic_add(arrivals + tl.program_id(1), 1, sem="acq_rel") == tl.num_programs(0) - 1
    if is_last:
        tl.store(arrivals + tl.program_id(1), 0)
    return is_last


@triton.jit
def add_up(parts, channel, num_parts, stride, channels, CHANNELS: tl.constexpr, PARTS: tl.constexpr):
    """The sum of a quantity over parts that lie ``stride`` apart."""
    total = tl.zeros((PARTS, CHANNELS), tl.float32)
    for first in range(0, num_parts, PARTS):
        part = first + tl.arange(0, PARTS)
        is_there = (part < num_parts)[:, None] & (channel < channels)[None, :]
        place = parts + part[:, None] * stride + channel[None, :]
        total += tl.load(place, mask=is_there, other=0.0, cache_modifier=".cg")
    return tl.sum(total, axis=0)


@triton.jit
def with_value(mean, squares, seen, value, is_there):
    """Means and sums of squared differences of each place of a tile, and how many values its rows saw: one more (Welford)."""
    seen += is_there.to(tl.float32)
    difference = tl.where(is_there[:, None], value - mean, 0.0)
    mean += difference * (1.0 / tl.maximum(seen, 1.0))[:, None]
    return mean, squares + difference * tl.where(is_there[:, None], value - mean, 0.0), seen


@triton.jit
def finish_statistics(
    mean, squares, seen, parts, arrivals, statistics, running_mean, running_var, rows, channels, channel, momentum, eps,
    CHANNELS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Store what the places of this part come to, and its number of values; the last program merges the parts (Chan et al.)."""
    is_channel = channel < channels
    number = tl.sum(seen)
    part_mean = tl.sum(mean * seen[:, None], axis=0) / tl.maximum(number, 1.0)  # walks may begin beyond the map
    off = mean - part_mean[None, :]
    part_squares = tl.sum(squares + off * off * seen[:, None], axis=0)
    mine = parts + tl.program_id(0) * 3 * channels + channel
    tl.store(mine, part_mean, mask=is_channel)
    tl.store(mine + channels, part_squares, mask=is_channel)
    tl.store(mine + 2 * channels, part_mean * 0.0 + number, mask=is_channel)
    if is_last_to_arrive(arrivals):
        origin = tl.load(parts + channel, mask=is_channel, other=0.0, cache_modifier=".cg")
        away = tl.zeros((PARTS, CHANNELS), tl.float32)
        within = tl.zeros((PARTS, CHANNELS), tl.float32)
        for first in range(0, tl.num_programs(0), PARTS):
            part = first + tl.arange(0, PARTS)
            is_there = (part < tl.num_programs(0))[:, None] & is_channel[None, :]
            place = parts + part[:, None] * 3 * channels + channel[None, :]
            count = tl.load(place + 2 * channels, mask=is_there, other=0.0, cache_modifier=".cg")
            means = tl.load(place, mask=is_there, other=0.0, cache_modifier=".cg")
            difference = tl.where(is_there, means - origin[None, :], 0.0)
            away += difference * count
            within += tl.load(place + channels, mask=is_there, other=0.0, cache_modifier=".cg")
            within += difference * difference * count
        away_mean = tl.sum(away, axis=0) / rows
        all_mean = origin + away_mean
        all_squares = tl.maximum(tl.sum(within, axis=0) - rows * away_mean * away_mean, 0.0)
        tl.store(statistics + channel, all_mean, mask=is_channel)
        tl.store(statistics + channels + channel, 1.0 / tl.sqrt(all_squares / rows + eps), mask=is_channel)
        old_mean = tl.load(running_mean + channel, mask=is_channel, other=0.0)
        old_var = tl.load(running_var + channel, mask=is_channel, other=0.0)
        unbiased = all_squares / tl.maximum(rows - 1, 1)
        tl.store(running_mean + channel, old_mean + momentum * (all_mean - old_mean), mask=is_channel)
        tl.store(running_var + channel, old_var + momentum * (unbiased - old_var), mask=is_channel)


@triton.jit(do_not_specialize=_SIZES)
def _measure(
    values, parts, arrivals, statistics, running_mean, running_var, rows, channels, momentum, eps,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    mean = tl.zeros((ROWS, CHANNELS), tl.float32)
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    seen = tl.zeros((ROWS,), tl.float32)
    for step in range(TILES):
        row, _, place, is_inside = tile(tl.program_id(0) * TILES + step, rows, channels, ROWS, CHANNELS)
        value = tl.load(values + place, mask=is_inside, other=0.0).to(tl.float32)
        mean, squares, seen = with_value(mean, squares, seen, value, row < rows)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    finish_statistics(
        mean, squares, seen, parts, arrivals, statistics, running_mean, running_var, rows, channels, channel, momentum, eps,
        CHANNELS, PARTS,
    )  # fmt: skip


@triton.jit
def _of_channel(statistics, gamma, beta, channel, channels):
    """Mean, reciprocal deviation, gamma and beta as rows."""
    is_channel = channel < channels
    mean = tl.load(statistics + channel, mask=is_channel, other=0.0)
    scale = tl.load(statistics + channels + channel, mask=is_channel, other=0.0)
    weight = tl.load(gamma + channel, mask=is_channel, other=0.0)
    bias = tl.load(beta + channel, mask=is_channel, other=0.0)
    return mean[None, :], scale[None, :], weight[None, :], bias[None, :]


@triton.jit(do_not_specialize=_SIZES)
def _normalise(
    values, statistics, gamma, beta, output, target, stride, seed, number, dropped, scale, rows, channels,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, channel, place, is_inside = tile(tl.program_id(0), rows, channels, ROWS, CHANNELS)
    mean, deviation, weight, bias = _of_channel(statistics, gamma, beta, channel, channels)
    value = tl.load(values + place, mask=is_inside, other=0.0).to(tl.float32)
    result = (value - mean) * deviation * weight + bias
    result = tl.where(result < 0, 0.0, result)  # a maximum would turn what is no number into 0
    if output is not None:
        tl.store(output + place, result.to(output.dtype.element_ty), mask=is_inside)
    if target is not None:
        kept = drop(result, seed, number, row, channels, dropped, scale)
        tl.store(target + strided(row, channel, stride), kept.to(target.dtype.element_ty), mask=is_inside)


@triton.jit
def _through_relu(
    gradient, joint, stride, seed, number, dropped, scale, values, row, channel, place, is_inside, channels,
    mean, deviation, weight, bias,
):  # fmt: skip
    """The gradient that comes through the ReLU, and the standardised value."""
    standard = (tl.load(values + place, mask=is_inside, other=0.0).to(tl.float32) - mean) * deviation
    upstream = tl.zeros(standard.shape, tl.float32)
    if gradient is not None:
        upstream += tl.load(gradient + place, mask=is_inside, other=0.0).to(tl.float32)
    if joint is not None:
        of_kept = tl.load(joint + strided(row, channel, stride), mask=is_inside, other=0.0).to(tl.float32)
        upstream += drop(of_kept, seed, number, row, channels, dropped, scale)
    return tl.where(standard * weight + bias > 0, upstream, 0.0), standard


@triton.jit(do_not_specialize=_SIZES)
def _reduce_gradient(
    gradient, joint, stride, seed, number, dropped, scale, values, statistics, gamma, beta, parts, arrivals, sums,
    rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The gradients of gamma and beta."""
    of_gamma = tl.zeros((ROWS, CHANNELS), tl.float32)
    of_beta = tl.zeros((ROWS, CHANNELS), tl.float32)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mean, deviation, weight, bias = _of_channel(statistics, gamma, beta, channel, channels)
    for step in range(TILES):
        row, _, place, is_inside = tile(tl.program_id(0) * TILES + step, rows, channels, ROWS, CHANNELS)
        upstream, standard = _through_relu(
            gradient, joint, stride, seed, number, dropped, scale, values, row, channel, place, is_inside, channels,
            mean, deviation, weight, bias,
        )  # fmt: skip
        of_gamma += upstream * standard
        of_beta += upstream
    is_channel = channel < channels
    mine = parts + tl.program_id(0) * 2 * channels + channel
    tl.store(mine, tl.sum(of_gamma, axis=0), mask=is_channel)
    tl.store(mine + channels, tl.sum(of_beta, axis=0), mask=is_channel)
    if is_last_to_arrive(arrivals):
        num_parts = tl.num_programs(0)
        all_gamma = add_up(parts, channel, num_parts, 2 * channels, channels, CHANNELS, PARTS)
        all_beta = add_up(parts + channels, channel, num_parts, 2 * channels, channels, CHANNELS, PARTS)
        tl.store(sums + channel, all_gamma, mask=is_channel)
        tl.store(sums + channels + channel, all_beta, mask=is_channel)


@triton.jit(do_not_specialize=_SIZES)
def _gradient(
    gradient, joint, stride, seed, number, dropped, scale, values, statistics, gamma, beta, sums, output, rows, channels,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, channel, place, is_inside = tile(tl.program_id(0), rows, channels, ROWS, CHANNELS)
    mean, deviation, weight, bias = _of_channel(statistics, gamma, beta, channel, channels)
    upstream, standard = _through_relu(
        gradient, joint, stride, seed, number, dropped, scale, values, row, channel, place, is_inside, channels,
        mean, deviation, weight, bias,
    )  # fmt: skip
    of_gamma = tl.load(sums + channel, mask=channel < channels, other=0.0) / rows
    of_beta = tl.load(sums + channels + channel, mask=channel < channels, other=0.0) / rows
    result = (upstream - of_beta[None, :] - standard * of_gamma[None, :]) * deviation * weight
    tl.store(output + place, result.to(output.dtype.element_ty), mask=is_inside)
