"""Searches over the time that they took, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from search.findings.anytime import Anytime
from search.findings.estimates import mean
from search.views.figures.curves import Curve, Floats, draw_curves, styles, time_unit
from search.views.figures.style import TEXT, WIDTH, new_figure, plain_axes, save_figure

POINTS = 120
"""At which each curve is drawn."""


def draw_anytime(ways: Mapping[str, Sequence[Anytime]], path: Path, title: str, width: float = WIDTH) -> None:
    """Draw the best mIoU found against hours of trials, up to the hours that all have spent.

    Lines are means over the searches of a way, bars their 95 % intervals (Student's t).
    """
    figure = new_figure(width, max(3.2, 0.6 * width), title)
    axes = figure.add_subplot()
    runs = [run for of_way in ways.values() for run in of_way]
    start = max(next(hours for hours, found in zip(run.hours, run.found, strict=True) if found > 0) for run in runs)
    grid = np.linspace(start, max(min(run.hours[-1] for run in runs), start), POINTS)
    unit, an_hour = time_unit(grid)
    curves = [_curve(of_way, grid, an_hour) for of_way in ways.values()]
    names = [f"{name}, {len(of_way)} {'searches' if len(of_way) > 1 else 'search'}" for name, of_way in ways.items()]
    draw_curves(axes, curves, names, styles([(name, "") for name in ways]))
    axes.set_xlabel(f"{unit} of trials")
    axes.set_ylabel("best found, mIoU selected on (%)")
    plain_axes(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=TEXT, frameon=False)
    save_figure(figure, path)


def _curve(runs: Sequence[Anytime], grid: Floats, an_hour: float) -> Curve:
    estimates = [mean([100 * run.at(hours) for run in runs]) for hours in grid]
    low, high = ([end for end in ends if end is not None] for ends in zip(*((e.low, e.high) for e in estimates), strict=True))
    means = np.array([one.value for one in estimates])
    return Curve(grid * an_hour, means, np.array(low) if low else None, np.array(high) if high else None)
