"""Simulated searches as a picture."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from search.findings.estimates import t_quantile
from search.simulation.compare import Result
from search.views.figures.style import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, plain_axes, save_figure

POINTS = 200
"""At which each curve is drawn."""


def draw_simulation(results: Sequence[Result], path: Path, title: str, goal: float | None = None, goal_name: str = "") -> None:
    """Draw the quality of the best cell found against trials and against worker-hours.

    Lines are means, bands their 95 % intervals, over tables, or of a single one over its searches. Algorithms differ by
    colour, schedulers by the line's dashes.
    """
    figure = Figure(figsize=(8.6, 4.2), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left", parse_math=False)
    axes_of_trials, axes_of_hours = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(dict.fromkeys(one.contender.algorithm for one in results), cycle(_COLOURS), strict=False))
    dashes = dict(zip(dict.fromkeys(one.contender.scheduler for one in results), cycle(_DASHES), strict=False))
    for result in results:
        style: dict[str, Any] = {"color": colours[result.contender.algorithm], "linestyle": dashes[result.contender.scheduler]}
        trials = [np.arange(1, len(run.quality) + 1, dtype=float) for run in result.runs]
        hours = [np.asarray(run.worker_hours) for run in result.runs]
        _draw_curve(axes_of_trials, trials, result, style)
        _draw_curve(axes_of_hours, hours, result, style)
    for axes, label in ((axes_of_trials, "trials ended"), (axes_of_hours, "worker-hours")):
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.12g}"))
        plain_axes(axes)
        if goal is not None:
            axes.axhline(100 * goal, color=GREY, linewidth=0.8, linestyle=":")
            place = {"xycoords": ("axes fraction", "data"), "xytext": (2, 2), "textcoords": "offset points"}
            axes.annotate(goal_name, (0.0, 100 * goal), fontsize=7, color=GREY, **place)
    axes_of_trials.set_ylabel("best cell found, mIoU (%)")
    figure.legend(*axes_of_trials.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    save_figure(figure, path)


_COLOURS = (INK, BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GREY)
_DASHES = ("-", "--", ":", "-.")


def _draw_curve(axes: Axes, places: Sequence[npt.NDArray[np.float64]], result: Result, style: dict[str, Any]) -> None:
    """On a grid that begins once every search has a cell and ends with the search that ends first."""
    grid = np.geomspace(max(place[0] for place in places), min(place[-1] for place in places), POINTS)
    curves = np.stack(
        [
            100 * np.asarray(run.quality)[np.searchsorted(place, grid, side="right") - 1]
            for place, run in zip(places, result.runs, strict=True)
        ]
    )
    if len(result.by_table) > 1:
        curves = np.stack([part.mean(axis=0) for part in np.split(curves, len(result.by_table))])
    means, count = curves.mean(axis=0), len(curves)
    axes.plot(grid, means, linewidth=1.5, label=result.contender.name, **style)
    if count > 1:
        half = t_quantile(count - 1) * curves.std(axis=0, ddof=1) / np.sqrt(count)
        axes.fill_between(grid, means - half, means + half, color=style["color"], alpha=0.15, linewidth=0)
