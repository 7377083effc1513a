"""What good cells are made of, as a picture."""

from collections.abc import Callable, Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from models.spec import AtrousConv, Operator, PyramidPooling
from search.findings.operator_usage import OperatorUsage, Usage
from search.views.figures.style import BLUE, DPI, GREY, INK, VERMILLION, plain_axes, save_figure, tint

STRONGEST = 4.0
"""The lift with the darkest shade."""
MOST_WRITTEN = 12
"""Rows of a map whose cells still have room for numbers."""


def draw_operator_usage(usage: OperatorUsage | None, path: Path, title: str = "") -> None:
    """Draw how much more often good cells use each rate, grid and kind of operator than all cells do.

    A framed square differs by more than chance explains; below its lift stands the number of good cells' branches.
    """
    figure = Figure(figsize=(7.2, 5.0), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left", parse_math=False)
    if usage is None:
        figure.text(0.5, 0.5, "no finished trial has a score yet", ha="center", color=GREY)
        save_figure(figure, path)
        return
    large, small, kinds = _panels(figure)
    _draw_map(large, "atrous rates", "rate", _pairs(usage.operators, AtrousConv, lambda one: one.rate))
    _draw_map(small, "pooling grids", "grid", _pairs(usage.operators, PyramidPooling, lambda one: one.grid))
    _draw_kinds(kinds, usage.kinds)
    note = (
        f"how many times as often the best {usage.good_cells:,} of {usage.all_cells:,} cells use it, and in how many branches"
    )
    caveat = "blue and framed: more than chance if cells were independent; mutants repeat what their parents have"
    figure.supxlabel(f"{note}\n{caveat}", fontsize=7, color=INK)
    save_figure(figure, path)


def _panels(figure: Figure) -> tuple[Axes, Axes, Axes]:
    panels = figure.subplot_mosaic([["large", "small"], ["large", "kinds"]], width_ratios=(1.75, 1), height_ratios=(1.25, 1))
    return panels["large"], panels["small"], panels["kinds"]


Pairs = Mapping[tuple[int, int], Usage]


def _pairs(operators: Mapping[Operator, Usage], kind: type, pair: Callable[[Any], tuple[int, int]]) -> Pairs:
    return {pair(operator): usage for operator, usage in operators.items() if isinstance(operator, kind)}


def _draw_map(axes: Axes, title: str, name: str, pairs: Pairs) -> None:
    """Squares by rows and columns, darker the more good cells use them."""
    axes.set_title(title, fontsize=9, loc="left")
    if not pairs:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "none in this search", transform=axes.transAxes, ha="center", color=GREY, fontsize=8)
        return
    rows, columns = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    for (row, column), usage in pairs.items():
        _draw_square(
            axes, columns.index(column), rows.index(row), usage, is_written=max(len(rows), len(columns)) <= MOST_WRITTEN
        )
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [str(column) for column in columns], fontsize=8)
    axes.set_yticks(range(len(rows)), [str(row) for row in rows], fontsize=8)
    axes.set_xlabel(f"{name} across", fontsize=8)
    axes.set_ylabel(f"{name} down", fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_square(axes: Axes, x: int, y: int, usage: Usage, is_written: bool) -> None:
    """Coloured and framed where the difference is more than chance, else grey."""
    strength = min(1.0, 0.5 + 0.5 * log2(max(usage.lift, 1 / STRONGEST)) / log2(STRONGEST))
    shade = tint(GREY, 0.6 * strength) if usage.is_noise else tint(BLUE, strength)
    frame: dict[str, Any] = {"edgecolor": "none" if usage.is_noise else INK, "linewidth": 1.6}
    axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=shade, **frame))
    if is_written:
        is_dark = not usage.is_noise and strength > 0.55
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if is_dark else INK}
        axes.text(x, y - 0.13, f"{usage.lift:.1f}", fontsize=8, weight="normal" if usage.is_noise else "bold", **style)
        axes.text(x, y + 0.24, f"{usage.count_good:,}", fontsize=6, **style)


def _draw_kinds(axes: Axes, kinds: Mapping[str, Usage]) -> None:
    """The share of each kind among good cells' branches with its interval, and among all cells' as a tick."""
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.set_title("kinds", fontsize=9, loc="left")
    names: Sequence[str] = sorted(kinds, key=lambda name: kinds[name].share_all)
    for y, name in enumerate(names):
        usage = kinds[name]
        share, low, high = (100 * value for value in (usage.share_good, usage.low, usage.high))
        axes.plot([low, high], [y, y], color=BLUE, linewidth=3, alpha=0.45, solid_capstyle="butt")
        axes.scatter([share], [y], s=26, color=BLUE, zorder=3, label="good cells" if y == 0 else None)
        label = "all cells" if y == 0 else None
        axes.scatter([100 * usage.share_all], [y], marker="|", s=160, linewidth=1.8, color=VERMILLION, zorder=4, label=label)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("share of branches (%)", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2)
