"""Simulated searches as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search.findings.estimates import t_quantile
from search.simulation.compare import Result
from search.views.figures.curves import Curve, Floats, draw_curves, log_ticks, styles, time_unit
from search.views.figures.style import GREY, NARROW, SMALL, TEXT, WIDTH, new_figure, plain_axes, save_figure

POINTS = 200
"""At which each curve is drawn."""


def draw_simulation(
    results: Sequence[Result], path: Path, title: str, goal: float | None = None, goal_name: str = "", width: float = WIDTH
) -> None:
    """Draw the quality of the best cell found against trials and against the workers' time.

    Lines are means, bars their 95 % intervals, over tables, or of a single one over its searches. Algorithms differ by
    colour, schedulers by the line's dashes.
    """
    is_narrow = width < NARROW
    figure = new_figure(width, 5.4 if is_narrow else 3.9, title)
    panels = figure.subplots(*((2, 1) if is_narrow else (1, 2)), sharey=True)
    unit, an_hour = time_unit(run.worker_hours[-1] for result in results for run in result.runs)
    ways = styles([(one.contender.algorithm, one.contender.scheduler) for one in results])
    names = [one.contender.name for one in results]
    trials = [[np.arange(1, len(run.quality) + 1, dtype=float) for run in one.runs] for one in results]
    spent = [[an_hour * np.asarray(run.worker_hours) for run in one.runs] for one in results]
    for axes, label, places in zip(panels, ("trials ended", f"worker-{unit}"), (trials, spent), strict=True):
        curves = [_curve(of_result, result) for of_result, result in zip(places, results, strict=True)]
        draw_curves(axes, curves, names, ways)
        axes.set_xlabel(label)
        log_ticks(axes, min(curve.places[0] for curve in curves), max(curve.places[-1] for curve in curves))
        plain_axes(axes)
        if goal is not None:
            axes.axhline(100 * goal, color=GREY, linewidth=0.8, linestyle=":")
            place: dict[str, Any] = {"xytext": (-2, 2), "textcoords": "offset points", "ha": "right"}
            axes.annotate(goal_name, (1.0, 100 * goal), xycoords=("axes fraction", "data"), fontsize=SMALL, color=GREY, **place)
    for axes in panels if is_narrow else panels[:1]:
        axes.set_ylabel("best cell found, mIoU (%)", fontsize=TEXT)
    columns = 2 if is_narrow else 3
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=TEXT, frameon=False
    )
    save_figure(figure, path)


def _curve(places: Sequence[Floats], result: Result) -> Curve:
    """On a grid that begins once every search has a score and ends with the search that ends first."""
    begins = [place[np.argmax(np.asarray(run.quality) > 0)] for place, run in zip(places, result.runs, strict=True)]
    grid = np.geomspace(max(begins), min(place[-1] for place in places), POINTS)
    curves = np.stack(
        [
            100 * np.asarray(run.quality)[np.searchsorted(place, grid, side="right") - 1]
            for place, run in zip(places, result.runs, strict=True)
        ]
    )
    if len(result.by_table) > 1:
        curves = np.stack([part.mean(axis=0) for part in np.split(curves, len(result.by_table))])
    means, count = curves.mean(axis=0), len(curves)
    if count == 1:
        return Curve(grid, means, None, None)
    half = t_quantile(count - 1) * curves.std(axis=0, ddof=1) / np.sqrt(count)
    return Curve(grid, means, means - half, means + half)
