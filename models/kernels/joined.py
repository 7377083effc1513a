"""Maps side by side with dropout, as a Triton kernel: torch concatenates, drops, and on the way back drops again and copies."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.batch_norm import as_maps, as_rows

LEVELS = 2**16
"""Of chance: a draw has 16 bits, and Philox gives eight at a time."""
ROWS, CHANNELS = 32, 64


def joined(maps: Sequence[Tensor], dropout: float) -> Tensor:
    """``maps``, each (B, C, H, W), concatenated along channels; a share ``dropout`` is 0, and the others are scaled up.

    Seeded by torch's generator of their device. Channels last, of the maps' type.
    """
    output: Tensor = _Joined.apply(round(dropout * LEVELS), *maps)
    return output


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dropped: int, *maps: Tensor) -> Tensor:
        parts = [as_rows(maps_BCHW) for maps_BCHW in maps]
        ctx.seed_1 = torch.randint(2**31 - 1, (1,), device=parts[0].device)
        ctx.dropped, ctx.widths, ctx.like_BCHW = dropped, [part_NC.shape[1] for part_NC in parts], maps[0]
        joined_NC = parts[0].new_empty((len(parts[0]), sum(ctx.widths)))
        for number, (part_NC, target_NC) in enumerate(zip(parts, joined_NC.split(ctx.widths, dim=1), strict=True)):
            _drop(part_NC, target_NC, ctx.seed_1, number, dropped)
        return as_maps(joined_NC, maps[0])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        of_maps: list[Tensor | None] = []
        for number, gradient_NC in enumerate(as_rows(upstream[0]).split(ctx.widths, dim=1)):
            of_part_NC = gradient_NC.new_empty(gradient_NC.shape)
            _drop(gradient_NC, of_part_NC, ctx.seed_1, number, ctx.dropped)
            of_maps.append(as_maps(of_part_NC, ctx.like_BCHW))
        return None, *of_maps


def _drop(source_NC: Tensor, target_NC: Tensor, seed_1: Tensor, part: int, dropped: int) -> None:
    rows, channels = source_NC.shape
    _copy_dropped[(triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS))](
        source_NC, source_NC.stride(0), target_NC, target_NC.stride(0), seed_1, part, rows, channels,
        dropped, LEVELS / (LEVELS - dropped), ROWS=ROWS, CHANNELS=CHANNELS,
    )  # fmt: skip


@triton.jit(do_not_specialize=("rows", "part", "dropped"))
def _copy_dropped(
    source, source_stride, target, target_stride, seed, part, rows, channels, dropped, scale,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    is_inside = (row < rows) & (channel < channels)
    eighth = tl.program_id(1) * (CHANNELS // 8) + tl.arange(0, CHANNELS // 8)[None, :]
    number = (row * tl.cdiv(channels, 8) + eighth).to(tl.int32)
    a, b, c, d = tl.randint4x(tl.load(seed) + part, number)
    words = tl.reshape(tl.join(tl.join(a, b), tl.join(c, d)), (ROWS, CHANNELS // 2))
    draws = tl.reshape(tl.join(words & 0xFFFF, (words >> 16) & 0xFFFF), (ROWS, CHANNELS))
    value = tl.load(source + row * source_stride + channel, mask=is_inside, other=0.0).to(tl.float32)
    kept = tl.where(draws < dropped, 0.0, value * scale)
    tl.store(target + row * target_stride + channel, kept.to(target.dtype.element_ty), mask=is_inside)
