"""Maps side by side with dropout: kernels write each map where the concatenation has it, and read its gradient there."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.batch_norm import as_maps, as_rows_apart
from models.kernels.dropout import LEVELS, UNSPECIALISED, Place, drop, strided

ROWS, CHANNELS = 32, 64


class Joint:
    """A concatenation of ``number`` maps along channels, each (B, C, H, W), as it comes to be.

    A share ``dropout`` of the values is 0, and the others are scaled up; seeded by torch's generator of the maps' device.
    """

    def __init__(self, number: int, dropout: float) -> None:
        self._number, self._dropped = number, round(dropout * LEVELS)
        self._parts_NC: tuple[Tensor, ...] = ()
        self._whole_BCHW = self._seed_1 = torch.empty(0)

    def place(self, number: int, like_BCHW: Tensor) -> Place:
        """Of the maps with this number, which are as large as these and of their type."""
        if not self._parts_NC:
            batch, channels, height, width = like_BCHW.shape
            rows_NC = like_BCHW.new_empty((batch * height * width, self._number * channels))
            self._seed_1 = torch.randint(2**31 - 1, (1,), device=like_BCHW.device)
            self._parts_NC, self._whole_BCHW = rows_NC.split(channels, dim=1), as_maps(rows_NC, like_BCHW)
        return Place(self._parts_NC[number], self._seed_1, number, self._dropped)

    def whole(self, parts: Sequence[Tensor]) -> Tensor:
        """The concatenation, channels last, once all ``parts`` are in their places."""
        whole_BCHW: Tensor = _Whole.apply(self._whole_BCHW, *parts)
        return whole_BCHW


def placed(maps_BCHW: Tensor, place: Place) -> Tensor:
    """Maps that other operators made, copied to their place."""
    part_BCHW: Tensor = _Placed.apply(maps_BCHW, place)
    return part_BCHW


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole_BCHW: Tensor, *parts: Tensor) -> Tensor:
        ctx.channels = parts[0].shape[1]
        return whole_BCHW.detach()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, *upstream[0].split(ctx.channels, dim=1)


class _Placed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps_BCHW: Tensor, place: Place) -> Tensor:
        ctx.place = place
        _copy(as_rows_apart(maps_BCHW), place.rows_NC, place)
        return as_maps(place.rows_NC, maps_BCHW)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        gradient_NC = as_rows_apart(upstream[0])
        of_maps_NC = gradient_NC.new_empty(gradient_NC.shape)
        _copy(gradient_NC, of_maps_NC, ctx.place)
        return as_maps(of_maps_NC, upstream[0]), None


def _copy(source_NC: Tensor, target_NC: Tensor, place: Place) -> None:
    rows, channels = source_NC.shape
    _copy_dropped[(triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS))](
        source_NC, source_NC.stride(0), *place.of(target_NC).arguments, rows, channels, ROWS=ROWS, CHANNELS=CHANNELS
    )


@triton.jit(do_not_specialize=("rows", *UNSPECIALISED))
def _copy_dropped(
    source, source_stride, target, target_stride, seed, number, dropped, scale, rows, channels,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_inside = (row < rows)[:, None] & (channel < channels)[None, :]
    value = tl.load(source + strided(row, channel, source_stride), mask=is_inside, other=0.0).to(tl.float32)
    kept = drop(value, seed, number, row, channels, dropped, scale)
    tl.store(target + strided(row, channel, target_stride), kept.to(target.dtype.element_ty), mask=is_inside)
