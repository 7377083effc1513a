"""A search as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from search.deciding.outcomes import Status
from search.journal.record import SearchRecord, TrialRecord
from search.views.figures.style import (
    BLUE,
    BROWN,
    GREY,
    INK,
    MANY,
    NARROW,
    PURPLE,
    VERMILLION,
    WIDTH,
    cut_below,
    new_figure,
    place_legend,
    plain_axes,
    save_figure,
    tint,
)

RUNGS_NAMED = 6
"""Rungs that the legend of a search names one by one; of more, it names the first and the last."""


def draw_progress(record: SearchRecord, path: Path, title: str = "", width: float = WIDTH) -> None:
    """Draw the mIoU of each finished trial in order of finishing, and the best so far among the completed ones.

    A trial without a score (diverged or failed) is a tick at the bottom.
    """
    dots = [_Dot(place, trial) for place, trial in enumerate(record.in_order_of_finishing(), start=1)]

    figure = new_figure(width, 0.53 * width if width >= NARROW else 0.8 * width, title)
    axes = figure.add_subplot()
    axes.set_xlabel("finished trials, in order of finishing")
    axes.set_ylabel(f"mIoU {record.scored_on} (%)")
    axes.set_xlim(0.5 - 0.02 * len(dots), 0.5 + 1.02 * max(1, len(dots)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    plain_axes(axes)
    _draw_scores(axes, [dot for dot in dots if dot.trial.miou is not None], last_place=len(dots))
    _draw_unscored(axes, [dot for dot in dots if dot.trial.miou is None])
    if dots:
        _draw_legend(figure, axes, width)
    else:
        axes.text(0.5, 0.5, "no trial has finished yet", transform=axes.transAxes, ha="center", color=GREY)
    save_figure(figure, path)


@dataclass(frozen=True, slots=True)
class _Dot:
    """A finished trial and its place in order of finishing, from 1."""

    place: int
    trial: TrialRecord

    @property
    def percent(self) -> float:
        return 100 * self.trial.score


def _draw_scores(axes: Axes, dots: Sequence[_Dot], last_place: int) -> None:
    """Dots for completed trials, triangles for stopped ones, darker the later they were stopped."""
    if not dots:
        axes.set_ylim(0, 100)
        return
    cut_below(axes, [dot.place for dot in dots], [dot.percent for dot in dots])
    style: dict[str, Any] = {"s": max(2.5, min(26.0, 8000 / len(dots))), "linewidth": 0, "rasterized": len(dots) > MANY}
    stopped = [dot for dot in dots if dot.trial.status == Status.STOPPED]
    rungs = sorted({len(dot.trial.rungs) for dot in stopped})
    for order, rung in enumerate(rungs):
        at_rung = [dot for dot in stopped if len(dot.trial.rungs) == rung]
        named = len(rungs) <= RUNGS_NAMED or rung in (rungs[0], rungs[-1])
        label = f"stopped at rung {rung}" if named else None
        shade = tint(BLUE, 0.4 + 0.6 * order / max(1, len(rungs) - 1))
        axes.scatter(*_points(at_rung), color=[shade], marker="v", label=label, **style)
    completed = [dot for dot in dots if dot.trial.status == Status.COMPLETED]
    if completed:
        places, scores = _points(completed)
        best = list(accumulate(scores, max))
        axes.scatter(places, scores, color=[INK], label="completed", zorder=3, **style)
        label = f"best so far, now {best[-1]:.2f}"
        axes.step(
            [*places, last_place], [*best, best[-1]], where="post", color=VERMILLION, linewidth=1.5, zorder=4, label=label
        )


def _draw_unscored(axes: Axes, dots: Sequence[_Dot]) -> None:
    """Ticks at the bottom, below all scores."""
    if not dots:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.1 * (high - low), high)
    for status, colour, height in ((Status.DIVERGED, BROWN, 0.02), (Status.FAILED, PURPLE, 0.055)):
        places = [dot.place for dot in dots if dot.trial.status == status]
        if places:
            width = 1.4 if len(places) < 300 else 0.3
            style: dict[str, Any] = {"marker": "|", "color": colour, "linewidth": width, "rasterized": len(places) > MANY}
            at_bottom = axes.get_xaxis_transform()
            axes.scatter(places, [height] * len(places), s=40, transform=at_bottom, label=status, **style)


def _draw_legend(figure: Figure, axes: Axes, width: float) -> None:
    """Its markers are as large as those of a short search."""
    legend = place_legend(figure, axes, width)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([26.0])
            handle.set_linewidth(1.4)


def _points(dots: Sequence[_Dot]) -> tuple[list[int], list[float]]:
    return [dot.place for dot in dots], [dot.percent for dot in dots]
