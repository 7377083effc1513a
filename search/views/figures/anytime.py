"""Searches over the hours that they took, as a picture."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from search.findings.anytime import Anytime
from search.findings.estimates import mean
from search.views.figures.style import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, plain_axes, save_figure

POINTS = 120
"""At which each curve is drawn."""


def draw_anytime(ways: Mapping[str, Sequence[Anytime]], path: Path, title: str) -> None:
    """Draw the best mIoU found against hours of trials, up to the hours that all have spent.

    Lines are means over the searches of a way, bands their 95 % intervals (Student's t).
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10.5, fontweight="bold", loc="left", parse_math=False)
    runs = [run for of_way in ways.values() for run in of_way]
    start = max(next(hours for hours, found in zip(run.hours, run.found, strict=True) if found > 0) for run in runs)
    grid = np.linspace(start, max(min(run.hours[-1] for run in runs), start), POINTS)
    for (name, of_way), colour in zip(ways.items(), cycle((INK, BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GREY)), strict=False):
        estimates = [mean([100 * run.at(hours) for run in of_way]) for hours in grid]
        axes.plot(grid, [one.value for one in estimates], linewidth=1.5, color=colour, label=f"{name}, {len(of_way)} searches")
        if len(of_way) > 1:
            low, high = (
                [end for end in ends if end is not None] for ends in zip(*((e.low, e.high) for e in estimates), strict=True)
            )
            axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("hours of trials")
    axes.set_ylabel("best found, mIoU selected on (%)")
    plain_axes(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save_figure(figure, path)
