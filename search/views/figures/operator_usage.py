"""What good cells are made of, as a picture."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import log2
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from models.spec import AtrousConv, Operator, PyramidPooling
from search.findings.operator_usage import OperatorUsage, Usage
from search.views.figures.style import (
    BLUE,
    GREY,
    INK,
    NARROW,
    SMALL,
    TEXT,
    VERMILLION,
    WIDTH,
    new_figure,
    plain_axes,
    save_figure,
    tint,
)

STRONGEST = 4.0
"""The lift, or the inverse of one, with the darkest shade."""
MOST_WRITTEN = 12
"""Rows of a map whose cells still have room for numbers."""


def draw_operator_usage(usage: OperatorUsage, path: Path, width: float = WIDTH) -> None:
    """Draw how much more often good cells use each rate, grid and kind of operator than all cells do.

    In a square stand the good cells' branches that use it, over those that would if they were as all cells' are. Coloured,
    framed and with its ratio is what differs by more than chance: used more blue, used less vermillion. A cross is what was
    never tried.
    """
    is_narrow = width < NARROW
    figure = new_figure(width, 1.55 * width if is_narrow else 5.0)
    large, small, kinds = _panels(figure, is_narrow)
    _draw_map(large, "atrous rates", "rate", _pairs(usage.operators, AtrousConv, lambda one: one.rate))
    _draw_map(small, "pooling grids", "grid", _pairs(usage.operators, PyramidPooling, lambda one: one.grid))
    _draw_kinds(kinds, usage.kinds)
    notes = [
        f"branches of the best {usage.good_cells:,} of {usage.all_cells:,} cells / those expected if they were as all cells",
        "framed with its ratio: beyond chance if cells were independent (blue more, orange less); x: never tried",
    ]
    figure.supxlabel("\n".join(_broken(notes) if is_narrow else notes), fontsize=SMALL, color=INK)
    save_figure(figure, path)


def _broken(notes: Sequence[str]) -> list[str]:
    """Each note on two lines, for a column."""
    broken = []
    for note in notes:
        words = note.split()
        half = len(words) // 2
        broken += [" ".join(words[:half]), " ".join(words[half:])]
    return broken


def _panels(figure: Figure, is_narrow: bool) -> tuple[Axes, Axes, Axes]:
    if is_narrow:
        mosaic: Any = [["large", "large"], ["small", "kinds"]]
        panels = figure.subplot_mosaic(mosaic, width_ratios=(1, 1), height_ratios=(2, 1))
    else:
        mosaic = [["large", "small"], ["large", "kinds"]]
        panels = figure.subplot_mosaic(mosaic, width_ratios=(1.75, 1), height_ratios=(1.25, 1))
    return panels["large"], panels["small"], panels["kinds"]


Pairs = Mapping[tuple[int, int], Usage]


def _pairs(operators: Mapping[Operator, Usage], kind: type, pair: Callable[[Any], tuple[int, int]]) -> Pairs:
    return {pair(operator): usage for operator, usage in operators.items() if isinstance(operator, kind)}


def _draw_map(axes: Axes, title: str, name: str, pairs: Pairs) -> None:
    """A square for each pair of sizes, by rows and columns."""
    axes.set_title(title, fontsize=TEXT, loc="left")
    if not pairs:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "none in this search", transform=axes.transAxes, ha="center", color=GREY, fontsize=TEXT)
        return
    rows, columns = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    is_written = max(len(rows), len(columns)) <= MOST_WRITTEN
    for (y, row), (x, column) in product(enumerate(rows), enumerate(columns)):
        used = pairs.get((row, column))
        if used is None:
            axes.scatter([x], [y], marker="x", s=18, color=GREY, linewidth=0.8)
        else:
            _draw_square(axes, x, y, used, is_written)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [str(column) for column in columns], fontsize=TEXT)
    axes.set_yticks(range(len(rows)), [str(row) for row in rows], fontsize=TEXT)
    axes.set_xlabel(f"{name} across", fontsize=TEXT)
    axes.set_ylabel(f"{name} down", fontsize=TEXT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_square(axes: Axes, x: int, y: int, used: Usage, is_written: bool) -> None:
    colour = GREY if used.is_noise else BLUE if used.lift > 1 else VERMILLION
    distance = min(1.0, abs(log2(max(used.lift, 1 / STRONGEST))) / log2(STRONGEST))
    strength = 0.12 if used.is_noise else 0.25 + 0.45 * distance
    frame: dict[str, Any] = {"edgecolor": "none" if used.is_noise else colour, "linewidth": 1.8}
    axes.add_patch(Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, facecolor=tint(colour, strength), **frame))
    if not is_written:
        return
    counts, middle = f"{used.count_good:,}/{used.expected:.{0 if used.expected >= 10 else 1}f}", 0.0
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
    if not used.is_noise:
        axes.text(x, y - 0.17, f"{used.lift:.1f}x", fontsize=TEXT, weight="bold", **style)
        middle = 0.21
    axes.text(x, y + middle, counts, fontsize=5 if len(counts) > 6 else 6, **style)


def _draw_kinds(axes: Axes, kinds: Mapping[str, Usage]) -> None:
    """The share of each kind among good cells' branches with its interval, and among all cells' as a tick."""
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.set_title("kinds", fontsize=TEXT, loc="left")
    names: Sequence[str] = sorted(kinds, key=lambda name: kinds[name].share_all)
    for y, name in enumerate(names):
        usage = kinds[name]
        share, low, high = (100 * value for value in (usage.share_good, usage.low, usage.high))
        axes.plot([low, high], [y, y], color=tint(BLUE, 0.45), linewidth=3, solid_capstyle="butt")
        axes.scatter([share], [y], s=26, color=BLUE, zorder=3, label="good cells" if y == 0 else None)
        label = "all cells" if y == 0 else None
        axes.scatter([100 * usage.share_all], [y], marker="|", s=160, linewidth=1.8, color=VERMILLION, zorder=4, label=label)
    axes.set_yticks(range(len(names)), names, fontsize=TEXT)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("share of branches (%)", fontsize=TEXT)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2)
