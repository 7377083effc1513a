"""A cell as a picture: its diagram, painted; alone, or as a part of a larger figure."""

import textwrap
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from models.spec import BACKBONE, AtrousConv, CellSpec
from search.views.figures.cell_layout import FULL, SMALL_CARDS, CellLayout, Measures, Wire, layout_cell
from search.views.figures.operator_card import Pen, draw_card, rounded, window_of, write
from search.views.figures.style import DPI, GREY, INK, save_figure

# In inches.
MARGIN, CORNER = 0.15, 0.07
TITLE_LINE, TITLE_CHARACTER = 0.2, 0.085
OUT = 0.28
"""Of the arrow below the concat."""


@dataclass(frozen=True)
class Diagram:
    """A cell that is laid out, to be painted into a figure.

    Attributes:
        pale: branches that are not to be looked at.
    """

    cell: CellSpec
    measures: Measures = FULL
    pale: Set[int] = frozenset()
    window: int | None = None

    @property
    def layout(self) -> CellLayout:
        return layout_cell(self.cell, self.measures)

    @property
    def width(self) -> float:
        return self.layout.concat.width

    @property
    def height(self) -> float:
        return self.layout.concat.bottom

    def paint(self, figure: Figure, left: float, top: float, width: float, height: float) -> None:
        """Paint it into a box of the figure, in inches from the upper left, smaller where it has to be, in the middle."""
        page_width, page_height = figure.get_size_inches()
        zoom = min(1.0, width / self.width, height / self.height)
        axes = figure.add_axes((left / page_width, 1 - (top + height) / page_height, width / page_width, height / page_height))
        axes.axis("off")
        centre = self.layout.concat.centre
        axes.set_xlim(centre - width / 2 / zoom, centre + width / 2 / zoom)
        axes.set_ylim(height / zoom, 0)
        self.paint_on(axes, zoom)

    def paint_on(self, axes: Axes, zoom: float = 1.0) -> None:
        """Paint it with an inch of the diagram for each unit of the axes, downwards."""
        layout = self.layout
        for index, wire in layout.outputs.items():
            draw_wire(axes, wire, "#DDDDDD" if index in self.pale else GREY, zorder=1, zoom=zoom)
        for index, wire in layout.reads.items():
            draw_wire(axes, wire, GREY if index in self.pale else INK, zorder=2, zoom=zoom)
        names = ("F", "") if self.measures.is_small else ("backbone F", "concat")
        for box, name in zip((layout.boxes[BACKBONE], layout.concat), names, strict=True):
            axes.add_patch(rounded(box, facecolor="#E8E8E8", edgecolor=INK, linewidth=zoom))
            write(axes, box.centre, box.middle, name, self.measures.text * zoom, weight="bold")
        pen = Pen(self.measures, self.window or window_of([self.cell]), zoom)
        for index, branch in enumerate(self.cell.branches):
            draw_card(axes, layout.boxes[index], branch.operator, f"b{index + 1}", replace(pen, is_pale=index in self.pale))


def draw_cell(cell: CellSpec, path: Path, title: str = "", width: float | None = None) -> None:
    """Draw ``cell`` as Chen et al. 2018 do (figures 5a and 6), with the context that each branch sees.

    The inset of an atrous convolution shows its 3x3 taps, to one scale for the whole cell; that of a pooling shows its
    grid on the whole feature map.

    Args:
        width: inches at most; None for as wide as the cell is. A cell that is wider has small cards.
    """
    diagram = Diagram(cell)
    if width is not None and diagram.width + 2 * MARGIN > width:
        diagram = Diagram(cell, SMALL_CARDS)
    zoom = 1.0 if width is None else min(1.0, (width - 2 * MARGIN) / diagram.width)
    rates = [max(branch.operator.rate) for branch in cell.branches if isinstance(branch.operator, AtrousConv)]
    page = max(diagram.width * zoom, 1.8) + 2 * MARGIN
    lines = textwrap.wrap(title, int(page / TITLE_CHARACTER))
    above = MARGIN + (TITLE_LINE * len(lines) + 0.08 if lines else 0)
    below = MARGIN + (0.68 if rates else 0.5)
    height = above + diagram.height * zoom + below

    figure = Figure(figsize=(page, height), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    concat = diagram.layout.concat
    axes.set_xlim(concat.centre - page / 2 / zoom, concat.centre + page / 2 / zoom)
    axes.set_ylim((height - above) / zoom, -above / zoom)
    for number, line in enumerate(lines):
        write(axes, concat.centre, ((number + 0.4 - len(lines)) * TITLE_LINE - 0.08) / zoom, line, size=10.5, weight="bold")
    diagram.paint_on(axes, zoom)
    end = concat.bottom + OUT / zoom
    draw_wire(axes, [(concat.centre, concat.bottom), (concat.centre, end)], INK, zorder=2, zoom=zoom)
    write(axes, concat.centre, end + 0.12 / zoom, "output", 8.5)
    if rates:
        window = window_of([cell])
        write(axes, concat.centre, end + 0.34 / zoom, f"atrous frames: {window} x {window} features", 7)
    save_figure(figure, path)


def draw_wire(axes: Axes, wire: Wire, colour: str, zorder: int, zoom: float = 1.0) -> None:
    """A line with round corners and an arrow's head at its end, which points down."""
    (*_, (x, y)) = wire
    points, codes = [wire[0]], [Outline.MOVETO]
    for before, corner, after in zip(wire, wire[1:], wire[2:], strict=False):
        points += [_towards(corner, before), corner, _towards(corner, after)]
        codes += [Outline.LINETO, Outline.CURVE3, Outline.CURVE3]
    outline = Outline([*points, (x, y - 0.05)], [*codes, Outline.LINETO])
    axes.add_patch(PathPatch(outline, fill=False, edgecolor=colour, linewidth=1.1 * zoom, zorder=zorder))
    head = Outline([(x, y), (x - 0.035, y - 0.08), (x + 0.035, y - 0.08), (x, y)], closed=True)
    axes.add_patch(PathPatch(head, facecolor=colour, linewidth=0, zorder=zorder))


def _towards(corner: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """The point where a round corner begins, or half way where there is less room."""
    (x, y), (to_x, to_y) = corner, end
    part = min(0.5, CORNER / (abs(to_x - x) + abs(to_y - y)))
    return x + part * (to_x - x), y + part * (to_y - y)
