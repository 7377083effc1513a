"""A cell as a picture: its diagram, painted."""

import textwrap
from functools import singledispatch
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path as Outline

from models.spec import BACKBONE, AtrousConv, CellSpec, Conv1x1, Operator, PyramidPooling
from search.views.figures.cell_layout import Box, Wire, layout_cell
from search.views.figures.style import BLUE, DPI, GREEN, GREY, INK, ORANGE, save_figure, tint

# A diagram's measures, in inches.
INSET, INSET_TOP = 0.78, 0.11
MARGIN, CORNER = 0.15, 0.07
TITLE_LINE, TITLE_CHARACTER = 0.2, 0.085

PAPER_RATE = 21
"""The widest rate of Chen et al. 2018: cells within it are drawn to one scale, so that diagrams can be compared."""

RIM = 3
"""Features that an inset shows beyond the widest rate."""


def draw_cell(cell: CellSpec, path: Path, title: str = "") -> None:
    """Draw ``cell`` as Chen et al. 2018 do (figures 5a and 6), with the context that each branch sees.

    The inset of an atrous convolution shows its 3x3 taps, to one scale for the whole cell; that of a pooling shows its
    grid on the whole feature map.
    """
    layout = layout_cell(cell)
    concat = layout.concat
    rates = [max(branch.operator.rate) for branch in cell.branches if isinstance(branch.operator, AtrousConv)]
    window = 2 * (max([PAPER_RATE, *rates]) + RIM) + 1
    width = max(concat.width, 1.8) + 2 * MARGIN
    lines = textwrap.wrap(title, int(width / TITLE_CHARACTER))
    above = MARGIN + (TITLE_LINE * len(lines) + 0.08 if lines else 0)
    below = MARGIN + (0.68 if rates else 0.5)
    height = above + concat.bottom + below

    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.set_xlim(concat.centre - width / 2, concat.centre + width / 2)
    axes.set_ylim(height - above, -above)
    for number, line in enumerate(lines):
        _text(axes, concat.centre, (number + 0.4 - len(lines)) * TITLE_LINE - 0.08, line, size=10.5, weight="bold")

    for wire in layout.outputs.values():
        _draw_wire(axes, wire, GREY, zorder=1)
    for wire in layout.reads.values():
        _draw_wire(axes, wire, INK, zorder=2)
    _draw_bar(axes, layout.boxes[BACKBONE], "backbone F")
    _draw_bar(axes, concat, "concat")
    _draw_wire(axes, [(concat.centre, concat.bottom), (concat.centre, concat.bottom + 0.28)], INK, zorder=2)
    _text(axes, concat.centre, concat.bottom + 0.4, "output")
    if rates:
        _text(axes, concat.centre, concat.bottom + 0.62, f"atrous frames: {window} x {window} features", size=7)
    for index, branch in enumerate(cell.branches):
        _draw_card(axes, layout.boxes[index], branch.operator, f"b{index + 1}", window)
    save_figure(figure, path)


def _draw_wire(axes: Axes, wire: Wire, colour: str, zorder: int) -> None:
    """A line with round corners and an arrow's head at its end, which points down."""
    (*_, (x, y)) = wire
    points, codes = [wire[0]], [Outline.MOVETO]
    for before, corner, after in zip(wire, wire[1:], wire[2:], strict=False):
        points += [_towards(corner, before), corner, _towards(corner, after)]
        codes += [Outline.LINETO, Outline.CURVE3, Outline.CURVE3]
    outline = Outline([*points, (x, y - 0.05)], [*codes, Outline.LINETO])
    axes.add_patch(PathPatch(outline, fill=False, edgecolor=colour, linewidth=1.1, zorder=zorder))
    head = Outline([(x, y), (x - 0.035, y - 0.08), (x + 0.035, y - 0.08), (x, y)], closed=True)
    axes.add_patch(PathPatch(head, facecolor=colour, linewidth=0, zorder=zorder))


def _towards(corner: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """The point where a round corner begins, or half way where there is less room."""
    (x, y), (to_x, to_y) = corner, end
    part = min(0.5, CORNER / (abs(to_x - x) + abs(to_y - y)))
    return x + part * (to_x - x), y + part * (to_y - y)


def _draw_bar(axes: Axes, box: Box, text: str) -> None:
    axes.add_patch(_rounded(box, facecolor="#E8E8E8", edgecolor=INK, linewidth=1.0))
    _text(axes, box.centre, box.middle, text, weight="bold")


def _draw_card(axes: Axes, box: Box, operator: Operator, name: str, window: int) -> None:
    """A branch: its operator, and its name at the corner."""
    colour = _COLOURS.get(type(operator), GREY)
    axes.add_patch(_rounded(box, facecolor=tint(colour, 0.1), edgecolor=colour, linewidth=1.4))
    draw_operator(operator, axes, box, window)
    badge = Box(box.left - 0.07, box.top - 0.08, 0.11 + 0.075 * len(name), 0.19)
    axes.add_patch(_rounded(badge, facecolor="white", edgecolor=colour, linewidth=1.2))
    _text(axes, badge.centre, badge.middle, name, weight="bold", size=7.5)


@singledispatch
def draw_operator(operator: Operator, axes: Axes, card: Box, window: int) -> None:
    """Draw what ``operator`` sees into the card of its branch; of a kind that is not registered, only the text.

    Args:
        window: features that the card's inset spans, for operators drawn to scale.
    """
    lines = textwrap.wrap(str(operator), 13, max_lines=5, placeholder="...")
    _text(axes, card.centre, card.middle, "\n".join(lines))


@draw_operator.register
def _(operator: Conv1x1, axes: Axes, card: Box, window: int) -> None:
    inset = _draw_inset(operator, axes, card)
    _draw_dot(axes, inset.centre, inset.middle, 0.035, ORANGE)


@draw_operator.register
def _(operator: AtrousConv, axes: Axes, card: Box, window: int) -> None:
    inset = _draw_inset(operator, axes, card)
    down, across = (rate * INSET / window for rate in operator.rate)
    reach = Box(inset.centre - across, inset.middle - down, 2 * across, 2 * down)
    axes.add_patch(_rectangle(reach, facecolor=tint(BLUE, 0.2), linewidth=0))
    radius = min(0.026, 0.45 * min(down, across))
    for steps_down, steps_across in product((-1, 0, 1), repeat=2):
        _draw_dot(axes, inset.centre + steps_across * across, inset.middle + steps_down * down, radius, BLUE)


@draw_operator.register
def _(operator: PyramidPooling, axes: Axes, card: Box, window: int) -> None:
    inset = _draw_inset(operator, axes, card)
    rows, columns = operator.grid
    line: dict[str, Any] = {"color": GREEN, "linewidth": min(1.0, 20 * INSET / max(rows, columns)), "zorder": 3}
    heights = [inset.top + INSET * row / rows for row in range(1, rows)]
    places = [inset.left + INSET * column / columns for column in range(1, columns)]
    axes.add_patch(_rectangle(inset, facecolor=tint(GREEN, 0.25), edgecolor=GREEN, linewidth=1.0))
    axes.hlines(heights, inset.left, inset.right, **line)
    axes.vlines(places, inset.top, inset.bottom, **line)


_COLOURS: dict[type[Operator], str] = {Conv1x1: ORANGE, AtrousConv: BLUE, PyramidPooling: GREEN}


def _draw_inset(operator: Operator, axes: Axes, card: Box) -> Box:
    """The empty frame for what an operator sees, and the operator's text below it."""
    inset = Box(card.centre - INSET / 2, card.top + INSET_TOP, INSET, INSET)
    axes.add_patch(_rectangle(inset, facecolor="white", edgecolor="#BBBBBB", linewidth=0.6))
    _text(axes, card.centre, (inset.bottom + card.bottom) / 2, str(operator))
    return inset


def _draw_dot(axes: Axes, x: float, y: float, radius: float, colour: str) -> None:
    axes.add_patch(Circle((x, y), radius, facecolor=colour, linewidth=0, zorder=3))


def _rectangle(box: Box, **style: Any) -> Rectangle:
    return Rectangle((box.left, box.top), box.width, box.height, zorder=3, **style)


def _rounded(box: Box, **style: Any) -> FancyBboxPatch:
    corners = "round,pad=0,rounding_size=0.06"
    return FancyBboxPatch((box.left, box.top), box.width, box.height, boxstyle=corners, zorder=3, **style)


def _text(axes: Axes, x: float, y: float, text: str, size: float = 8.5, weight: str = "normal") -> None:
    """Text around a point, as it is: a dollar sign begins no formula."""
    axes.text(x, y, text, size=size, weight=weight, color=INK, ha="center", va="center", zorder=5, parse_math=False)
