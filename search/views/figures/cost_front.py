"""Score against cost as a picture: completed cells, their Pareto front, and well-known cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from search.findings.cost_front import CostFront, Landmark
from search.views.figures.landmarks import draw_landmarks
from search.views.figures.style import (
    BLUE,
    INK,
    MANY,
    NARROW,
    TEXT,
    WIDTH,
    cut_below,
    new_figure,
    plain_axes,
    save_figure,
    tint,
)
from search.wording import quantity

NAMES = {
    "madds": "multiply-adds of the cell on one image",
    "params": "parameters of the cell",
    "latency_ms": "milliseconds on one image",
}


def draw_cost_front(front: CostFront, landmarks: Sequence[Landmark], path: Path, width: float = WIDTH) -> None:
    """Draw completed cells, of which there is one at least, by cost and mIoU.

    A landmark is a star where its mIoU was measured, else a vertical line at its exact cost.
    """
    figure = new_figure(width, 3.7)
    axes = figure.add_subplot()
    _draw_front(axes, front, [100 * one.miou for one in landmarks if one.miou is not None])
    if front.cost != "latency_ms":  # those of landmarks are not known
        draw_landmarks(axes, landmarks, front.cost)
    columns = 2 if width < NARROW else 4
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=TEXT, frameon=False)
    save_figure(figure, path)


def _draw_front(axes: Axes, front: CostFront, stars: Sequence[float]) -> None:
    plain_axes(axes)
    axes.set_xlabel(NAMES[front.cost])
    axes.set_ylabel(f"mIoU {front.scored_on} (%)", fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    places = [getattr(one, front.cost) for one in front.completed]
    scores = [100 * one.score for one in front.completed]
    cut_below(axes, places, scores, stars)
    size, is_many = max(3.0, min(20.0, 8000 / len(places))), len(places) > MANY
    axes.scatter(places, scores, s=size, color=[tint(BLUE, 0.5)], linewidth=0, rasterized=is_many, label="completed")
    best_places = [getattr(one, front.cost) for one in front.front]
    best_scores = [100 * one.score for one in front.front]
    line: dict[str, Any] = {
        "color": INK,
        "linewidth": 1.4,
        "marker": "o",
        "markersize": 4,
        "zorder": 4,
        "label": "Pareto front",
    }
    axes.plot(best_places, best_scores, drawstyle="steps-post", **line)
