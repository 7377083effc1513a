"""A branch of a cell as a card: what its operator sees, and its name."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from models.spec import AtrousConv, CellSpec, Conv1x1, Operator, PyramidPooling
from search.views.figures.cell_layout import Box, Measures
from search.views.figures.style import BLUE, BROWN, GREEN, GREY, INK, tint

PAPER_RATE = 21
"""The widest rate of Chen et al. 2018: cells within it are drawn to one scale, so that diagrams can be compared."""
RIM = 3
"""Features that an inset shows beyond the widest rate."""
PALE = "#BBBBBB"
"""Of what is not to be looked at."""


@dataclass(frozen=True, slots=True)
class Pen:
    """How the cards of a diagram are drawn.

    Attributes:
        window: features that an atrous convolution's inset spans.
        zoom: by which the diagram is smaller than it was laid out; its text shrinks with it.
        is_pale: for a branch that is not to be looked at.
    """

    measures: Measures
    window: int
    zoom: float = 1.0
    is_pale: bool = False

    def colour(self, kind: str) -> str:
        return PALE if self.is_pale else kind

    @property
    def ink(self) -> str:
        return GREY if self.is_pale else INK


def window_of(cells: list[CellSpec]) -> int:
    """Features that the insets of atrous convolutions span, one scale for all of these cells."""
    operators = [branch.operator for cell in cells for branch in cell.branches]
    rates = [max(operator.rate) for operator in operators if isinstance(operator, AtrousConv)]
    return 2 * (max([PAPER_RATE, *rates]) + RIM) + 1


def draw_card(axes: Axes, box: Box, operator: Operator, name: str, pen: Pen) -> None:
    """A branch: its operator, and its name at the corner where there is room."""
    colour = pen.colour(_COLOURS.get(type(operator), GREY))
    axes.add_patch(rounded(box, facecolor=tint(colour, 0.1), edgecolor=colour, linewidth=1.4 * pen.zoom))
    draw_operator(operator, axes, box, pen)
    if not pen.measures.is_small:
        badge = Box(box.left - 0.07, box.top - 0.08, 0.11 + 0.075 * len(name), 0.19)
        axes.add_patch(rounded(badge, facecolor="white", edgecolor=colour, linewidth=1.2 * pen.zoom))
        write(axes, badge.centre, badge.middle, name, 7.5 * pen.zoom, weight="bold", color=pen.ink)


@singledispatch
def draw_operator(operator: Operator, axes: Axes, card: Box, pen: Pen) -> None:
    """Draw what ``operator`` sees into the card of its branch; of a kind that is not registered, only the text."""
    letters = 9 if pen.measures.is_small else 13
    lines = textwrap.wrap(str(operator), letters, max_lines=5, placeholder="...")
    write(axes, card.centre, card.middle, "\n".join(lines), pen.measures.text * pen.zoom, color=pen.ink)


@draw_operator.register
def _(operator: Conv1x1, axes: Axes, card: Box, pen: Pen) -> None:
    inset = _draw_inset(operator, axes, card, pen)
    _draw_dots(axes, [(inset.centre, inset.middle)], 0.045 * inset.width, pen.colour(BROWN), pen)


@draw_operator.register
def _(operator: AtrousConv, axes: Axes, card: Box, pen: Pen) -> None:
    inset, colour = _draw_inset(operator, axes, card, pen), pen.colour(BLUE)
    down, across = (rate * inset.width / pen.window for rate in operator.rate)
    reach = Box(inset.centre - across, inset.middle - down, 2 * across, 2 * down)
    axes.add_patch(_rectangle(reach, facecolor=tint(colour, 0.2), linewidth=0))
    radius = min(inset.width / 30, 0.45 * min(down, across))
    taps = [(inset.centre + x * across, inset.middle + y * down) for y, x in product((-1, 0, 1), repeat=2)]
    _draw_dots(axes, taps, radius, colour, pen)


@draw_operator.register
def _(operator: PyramidPooling, axes: Axes, card: Box, pen: Pen) -> None:
    inset, colour = _draw_inset(operator, axes, card, pen), pen.colour(GREEN)
    rows, columns = operator.grid
    width = min(1.0, 20 * inset.width / max(rows, columns)) * pen.zoom
    line: dict[str, Any] = {"color": colour, "linewidth": width, "zorder": 3}
    heights = [inset.top + inset.height * row / rows for row in range(1, rows)]
    places = [inset.left + inset.width * column / columns for column in range(1, columns)]
    axes.add_patch(_rectangle(inset, facecolor=tint(colour, 0.25), edgecolor=colour, linewidth=pen.zoom))
    axes.hlines(heights, inset.left, inset.right, **line)
    axes.vlines(places, inset.top, inset.bottom, **line)


_COLOURS: dict[type[Operator], str] = {Conv1x1: BROWN, AtrousConv: BLUE, PyramidPooling: GREEN}


def _draw_inset(operator: Operator, axes: Axes, card: Box, pen: Pen) -> Box:
    """The empty frame for what an operator sees, and below it the operator's text, of a small card its sizes alone."""
    side = pen.measures.inset
    inset = Box(card.centre - side / 2, card.top + pen.measures.inset_top, side, side)
    axes.add_patch(_rectangle(inset, facecolor="white", edgecolor="#BBBBBB", linewidth=0.6 * pen.zoom))
    text = str(operator).split()[-1] if pen.measures.is_small else str(operator)
    write(axes, card.centre, (inset.bottom + card.bottom) / 2, text, pen.measures.text * pen.zoom, color=pen.ink)
    return inset


def write(axes: Axes, x: float, y: float, text: str, size: float, weight: str = "normal", color: str = INK) -> None:
    """Text around a point, as it is: a dollar sign begins no formula."""
    axes.text(x, y, text, size=size, weight=weight, color=color, ha="center", va="center", zorder=5, parse_math=False)


def rounded(box: Box, **style: Any) -> FancyBboxPatch:
    corners = f"round,pad=0,rounding_size={0.06 * min(1.0, box.height / 0.3)}"
    return FancyBboxPatch((box.left, box.top), box.width, box.height, boxstyle=corners, zorder=3, **style)


def _draw_dots(axes: Axes, places: Sequence[tuple[float, float]], radius: float, colour: str, pen: Pen) -> None:
    """As one line of marks: nine circles take ten times as long."""
    size = 2 * 72 * radius * pen.zoom
    xs, ys = zip(*places, strict=True)
    axes.plot(xs, ys, linestyle="", marker="o", markersize=size, markeredgewidth=0, color=colour, zorder=3)


def _rectangle(box: Box, **style: Any) -> Rectangle:
    return Rectangle((box.left, box.top), box.width, box.height, zorder=3, **style)
