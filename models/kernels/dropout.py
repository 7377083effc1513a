"""Dropout on the way into a concatenation, as a part of the Triton kernels that write it and read its gradient."""

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

LEVELS = 2**16
"""Of chance: a draw has 16 bits, and Philox gives eight at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where some maps belong in a concatenation, and what is dropped of them.

    Attributes:
        rows_NC: of the concatenation, or of its gradient, the maps' columns.
        seed_1: of the step's draws.
        number: of the maps among those that are concatenated.
        dropped: of ``LEVELS``.
    """

    rows_NC: Tensor
    seed_1: Tensor
    number: int
    dropped: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As kernels take them."""
        scale = LEVELS / (LEVELS - self.dropped)
        return self.rows_NC, self.rows_NC.stride(0), self.seed_1, self.number, self.dropped, scale

    def of(self, rows_NC: Tensor) -> "Place":
        """The same columns of other rows: a gradient's."""
        return Place(rows_NC, self.seed_1, self.number, self.dropped)


NOWHERE = (None, 0, None, 0, 0, 1.0)
"""Of maps that are not concatenated."""
UNSPECIALISED = ("number", "dropped")
"""Arguments whose values compile no kernel anew."""


@triton.jit
def drop(value, seed, number, row, channels, dropped, scale):
    """A tile of (rows, channels of this program) with a share of its values 0, and the others scaled up."""
    ROWS: tl.constexpr = value.shape[0]
    CHANNELS: tl.constexpr = value.shape[1]
    eighth = tl.program_id(1) * (CHANNELS // 8) + tl.arange(0, CHANNELS // 8)
    draw = row[:, None] * tl.cdiv(channels, 8) + eighth[None, :]
    a, b, c, d = tl.randint4x(tl.load(seed) + number, draw.to(tl.int32))
    words = tl.reshape(tl.join(tl.join(a, b), tl.join(c, d)), (ROWS, CHANNELS // 2))
    draws = tl.reshape(tl.join(words & 0xFFFF, (words >> 16) & 0xFFFF), (ROWS, CHANNELS))
    return tl.where(draws < dropped, 0.0, value * scale)


@triton.jit
def strided(row, channel, stride):
    """Places of a tile's values in rows that lie ``stride`` apart."""
    return row.to(tl.int64)[:, None] * stride + channel[None, :]
