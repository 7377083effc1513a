"""Shapes of a kernel's programs, and which of several a GPU runs: its first run times them, and a file keeps what it found."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from data.system.files import write_text
from data.system.json_file import read_json

CHANNELS = 64
"""Of a tile: 128 bytes of half precision in a row are one memory transaction."""
PARTS = 32
"""That are merged at a time."""
WORTH_IT = 0.95
"""Of the first shape's time: what another must stay under. Sums are grouped by shapes, so that another one gives other bits:
equal GPUs should choose alike."""


@dataclass(frozen=True)
class Shape:
    """Of a program: rows of a tile, tiles that it takes one after the other, warps.

    Many tiles leave few parts to merge.
    """

    rows: int
    tiles: int
    warps: int = 4

    @property
    def part_rows(self) -> int:
        return self.rows * self.tiles

    @property
    def options(self) -> dict[str, int]:
        """As a kernel takes them."""
        return {"ROWS": self.rows, "CHANNELS": CHANNELS, "TILES": self.tiles, "PARTS": PARTS, "num_warps": self.warps}


S = TypeVar("S", bound=Shape)


class Choice(Generic[S]):
    """Shapes that a kernel can have; the first one until another is chosen."""

    def __init__(self, shapes: Sequence[S]) -> None:
        self.shapes = tuple(shapes)
        self.chosen = self.shapes[0]

    def fastest(self, time_of: Callable[[], float]) -> str:
        """Choose by what ``time_of`` takes with each shape; returns it in words."""
        times = []
        for shape in self.shapes:
            self.chosen = shape
            times.append(time_of())
        best = min(range(len(times)), key=times.__getitem__)
        self.chosen = self.shapes[best if times[best] < WORTH_IT * times[0] else 0]
        return str(self.chosen)


def choose(choices: Mapping[str, tuple[Choice[S], Callable[[], float]]], kept: Path) -> dict[str, str] | None:
    """Give each kernel the shape that is fastest here.

    Args:
        choices: by the kernel's name, and what times it with the shape that is chosen at the moment.
        kept: the file of what was found before, which is written where there is none.

    Returns:
        The shapes in words if they were timed; None where the file had them.
    """
    shapes = {name: {str(shape): shape for shape in choice.shapes} for name, (choice, _) in choices.items()}
    try:
        found = read_json(kept)
        chosen = {name: of_name[found[name]] for name, of_name in shapes.items()}
    except (OSError, ValueError, KeyError, TypeError):  # none, half of one, or that of other shapes
        found = {name: choice.fastest(time_of) for name, (choice, time_of) in choices.items()}
        write_text(kept, json.dumps(found, indent=2) + "\n")
        return found
    for name, (choice, _) in choices.items():
        choice.chosen = chosen[name]
    return None
