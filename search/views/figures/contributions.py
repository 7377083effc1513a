"""What each branch of a trained cell contributes, as a picture (Chen et al. 2018, figure 5b)."""

from pathlib import Path
from typing import Any

from search.findings.contributions import Contributions
from search.views.figures.style import BLUE, INK, TEXT, VERMILLION, WIDTH, new_figure, plain_axes, save_figure


def draw_contributions(contributions: Contributions, path: Path, width: float = WIDTH) -> None:
    """Draw one bar a branch, and their mean as a line."""
    cell, values = contributions.cell, contributions.by_branch
    figure = new_figure(width, 0.9 + 0.36 * len(cell))
    axes = figure.add_subplot()
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    places = range(len(cell))
    axes.barh(places, values, color=BLUE, height=0.62)
    names = [f"b{index}  {branch}" for index, branch in enumerate(cell.branches, start=1)]
    axes.set_yticks(places, names, fontsize=TEXT, parse_math=False)
    axes.set_ylim(len(cell) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(*values, 1e-12))
    total = sum(values) or 1.0
    for place, value in zip(places, values, strict=True):
        beside: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": TEXT}
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.annotate(f"{100 * value / total:.0f} %", (value, place), bbox=paper, zorder=4, **beside)
    axes.axvline(total / len(cell), color=VERMILLION, linewidth=1.4, linestyle="--", zorder=3)
    axes.set_xlabel("mean |weight| of the projection; dashed: the mean of all branches", color=INK)
    save_figure(figure, path)
