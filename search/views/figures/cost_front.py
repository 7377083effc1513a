"""Score against cost as a picture: completed cells, their Pareto front, and well-known cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from search.findings.cost_front import CostFront, Landmark
from search.findings.leaderboard import quantity
from search.views.figures.style import BLUE, DPI, GREY, INK, MANY, PURPLE, VERMILLION, plain_axes, save_figure, tint

NAMES = {"madds": "multiply-adds of the cell on one image", "params": "parameters of the cell"}
DASHES = ("--", ":", "-.")


def draw_cost_fronts(fronts: Sequence[CostFront], landmarks: Sequence[Landmark], path: Path, title: str = "") -> None:
    """Draw completed cells by cost and mIoU, one panel a cost.

    A landmark is a vertical line at its exact cost, and a star on it only where its mIoU was measured.
    """
    figure = Figure(figsize=(7.2, 3.7), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left", parse_math=False)
    panels = figure.subplots(1, len(fronts), sharey=True, squeeze=False)[0]
    for axes, front in zip(panels, fronts, strict=True):
        _draw_front(axes, front)
        _draw_landmarks(axes, front, landmarks)
    panels[0].set_ylabel("mIoU on the proxy task (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    save_figure(figure, path)


def _draw_front(axes: Axes, front: CostFront) -> None:
    plain_axes(axes)
    axes.set_xlabel(NAMES[front.cost])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    if not front.completed:
        axes.text(0.5, 0.5, "no trial has completed yet", transform=axes.transAxes, ha="center", color=GREY)
        return
    places = [getattr(one, front.cost) for one in front.completed]
    scores = [100 * (one.miou or 0.0) for one in front.completed]
    size, is_many = max(3.0, min(20.0, 8000 / len(places))), len(places) > MANY
    axes.scatter(places, scores, s=size, color=[tint(BLUE, 0.5)], linewidth=0, rasterized=is_many, label="completed")
    best_places = [getattr(one, front.cost) for one in front.front]
    best_scores = [100 * (one.miou or 0.0) for one in front.front]
    line: dict[str, Any] = {
        "color": INK,
        "linewidth": 1.4,
        "marker": "o",
        "markersize": 4,
        "zorder": 4,
        "label": "Pareto front",
    }
    axes.plot(best_places, best_scores, drawstyle="steps-post", **line)


def _draw_landmarks(axes: Axes, front: CostFront, landmarks: Sequence[Landmark]) -> None:
    for landmark, dashes, colour in zip(landmarks, DASHES, (VERMILLION, PURPLE, GREY), strict=False):
        cost = getattr(landmark, front.cost)
        measured = "" if landmark.miou is not None else ", not scored here"
        axes.axvline(cost, color=colour, linewidth=1.4, linestyle=dashes, zorder=3, label=f"{landmark.name}{measured}")
        if landmark.miou is not None:
            star: dict[str, Any] = {"marker": "*", "s": 130, "color": colour, "edgecolor": INK, "linewidth": 0.6, "zorder": 5}
            axes.scatter([cost], [100 * landmark.miou], **star)
