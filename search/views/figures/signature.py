"""A search in one picture: mIoU against multiply-adds of all scored cells, the best of the front with their diagrams below."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from search.findings.signature import Signature
from search.journal.record import TrialRecord
from search.views.figures.cell_diagram import Diagram
from search.views.figures.cell_layout import SMALL_CARDS
from search.views.figures.landmarks import draw_landmarks
from search.views.figures.operator_card import window_of
from search.views.figures.style import (
    BLUE,
    GREY,
    INK,
    MANY,
    NARROW,
    SMALL,
    TEXT,
    VERMILLION,
    WIDTH,
    new_figure,
    plain_axes,
    save_figure,
    tell_below,
    tint,
)
from search.wording import percent, quantity

Links = Mapping[int, str]
"""By trial, where a click on its mark leads."""

# In inches.
LEFT, RIGHT, BELOW, ABOVE, LEGEND_ROW = 0.6, 0.12, 0.48, 0.08, 0.18
CAPTION, GAP = 0.3, 0.2
TALLEST = 2.3
"""A diagram; a longer chain is drawn smaller."""


def draw_signature(found: Signature, path: Path, width: float = WIDTH, links: Links | None = None) -> None:
    """Draw the picture of a search that has a score.

    Bars are the 95 % interval of what a lettered cell is expected to score under a fresh seed, and thin ones join the scores
    of a cell that was trained under several.
    """
    is_narrow = width < NARROW
    lettered = found.lettered
    window = window_of([trial.cell for trial in lettered.values()])
    diagrams = {letter: Diagram(trial.cell, SMALL_CARDS, window=window) for letter, trial in lettered.items()}
    beside = max(len(diagrams), 2)  # one alone stands below its letter, not in the middle
    column = width - 2 * GAP if is_narrow else (width - GAP * (beside + 1)) / beside
    heights = [min(TALLEST, one.height * min(1.0, column / one.width)) + CAPTION for one in diagrams.values()]
    columns = 1 if is_narrow else 3
    legend = LEGEND_ROW * ceil(_legend_entries(found) / columns)
    above = ABOVE + legend
    plot = 0.75 * width if is_narrow else 0.42 * width
    top = above + plot + BELOW + GAP / 2
    height = top + (sum(heights) + GAP * len(heights) if is_narrow else max(heights, default=0.0) + GAP / 2)
    figure = new_figure(width, height, layout=None)
    place = (LEFT / width, 1 - (above + plot) / height, (width - LEFT - RIGHT) / width, plot / height)
    axes = figure.add_axes(place)
    _draw_scores(axes, found, links or {})
    _draw_legend(axes, columns)
    for number, (letter, diagram) in enumerate(diagrams.items()):
        left = GAP if is_narrow else GAP + number * (column + GAP)
        _draw_cell(figure, letter, lettered[letter], diagram, left, top, column)
        top += heights[number] + GAP if is_narrow else 0.0
    save_figure(figure, path)


def _draw_scores(axes: Axes, found: Signature, links: Links) -> None:
    plain_axes(axes)
    axes.set_xlabel("multiply-adds of the cell on one image")
    axes.set_ylabel(f"mIoU {found.scored_on} (%)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    stopped = f"stopped early ({len(found.stopped):,})"
    scatter(axes, found.stopped, links, tint(GREY, 0.6), "v", stopped, 0.7)
    scatter(axes, found.completed, links, tint(BLUE, 0.65), "o", f"completed ({len(found.completed):,})")
    _fit(axes, found)
    _draw_seeds(axes, found)
    _draw_front(axes, found, links)
    draw_landmarks(axes, found.landmarks, "madds")


def scatter(
    axes: Axes, trials: Sequence[TrialRecord], links: Links, colour: Any, marker: str, label: str, scale: float = 1.0
) -> None:
    """A mark a trial; those that lead somewhere stay marks where of the others a picture is made."""
    if not trials:
        return
    size = scale * max(3.0, min(22.0, 8000 / len(trials)))
    style: dict[str, Any] = {"s": size, "color": [colour], "marker": marker, "linewidth": 0}
    linked = [trial for trial in trials if trial.number in links]
    plain = [trial for trial in trials if trial.number not in links]
    axes.scatter(*_places(plain), rasterized=len(plain) > MANY, label=label, **style)
    if linked:
        marks = axes.scatter(*_places(linked), **style)
        marks.set_urls([links[trial.number] for trial in linked])


def _fit(axes: Axes, found: Signature) -> None:
    """Let the y axis begin a little below the completed cells and landmarks; how many are lower is said."""
    scores = sorted(100 * trial.score for trial in found.completed or found.stopped)
    stars = [100 * one.miou for one in found.landmarks if one.miou is not None]
    low, high = min([scores[len(scores) // 50], *stars]), max([scores[-1], *stars])
    margin = max(0.3 * (high - low), 0.5)
    floor = max(0.0, low - margin)
    axes.set_ylim(floor, high + 0.45 * margin)
    below = [trial for trial in (*found.completed, *found.stopped) if 100 * trial.score < floor]
    if below:
        places, scores = _places(below)
        tell_below(axes, places, min(scores))


def _draw_seeds(axes: Axes, found: Signature) -> None:
    by_trial = {trial.number: trial for trial in found.completed}
    for number, again in found.repeated.items():
        trial = by_trial.get(number)
        if trial is not None:
            scores = [100 * score for score in (trial.score, *again)]
            style: dict[str, Any] = {"color": BLUE, "linewidth": 1.0, "marker": "_", "markersize": 4}
            axes.plot([trial.madds] * 2, [min(scores), max(scores)], **style)
    for trial in found.lettered.values():
        expected = found.expected.get(trial.number)
        if expected and expected.low is not None and expected.high is not None:
            value, low, high = (100 * one for one in (expected.value, expected.low, expected.high))
            label = "expected under a fresh seed, 95 %" if trial is next(iter(found.lettered.values())) else None
            ends = [[value - low], [high - value]]
            style = {"fmt": "D", "markersize": 4, "markerfacecolor": "white", "color": INK, "capsize": 2.5}
            axes.errorbar([trial.madds], [value], ends, linewidth=1.1, zorder=5, label=label, **style)


def _draw_front(axes: Axes, found: Signature, links: Links) -> None:
    if not found.front:
        return
    places, scores = _places(found.front)
    line: dict[str, Any] = {"color": INK, "linewidth": 1.3, "zorder": 4, "label": "best for its cost"}
    axes.plot(places, scores, drawstyle="steps-post", **line)
    marks = axes.scatter(places, scores, s=20, color=[INK], zorder=5, linewidth=0)
    marks.set_urls([links.get(trial.number) for trial in found.front])
    for letter, trial in found.lettered.items():
        place = trial.madds, 100 * trial.score
        ring: dict[str, Any] = {"s": 70, "facecolor": "none", "edgecolor": VERMILLION, "linewidth": 1.4, "zorder": 5}
        axes.scatter([place[0]], [place[1]], **ring)
        beside: dict[str, Any] = {"xytext": (-6, 4), "textcoords": "offset points", "ha": "right", "va": "bottom"}
        axes.annotate(letter, place, fontsize=TEXT + 2, weight="bold", color=INK, zorder=6, **beside)


def _legend_entries(found: Signature) -> int:
    drawn = (found.completed, found.stopped, found.front, found.expected)
    return sum(map(bool, drawn)) + sum(one.miou is None for one in found.landmarks)


def _draw_legend(axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        style: dict[str, Any] = {"fontsize": SMALL, "frameon": False, "borderaxespad": 0.2, "handlelength": 1.6}
        legend = axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, **style)
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([18.0])


def _draw_cell(
    figure: Figure, letter: str, trial: TrialRecord, diagram: Diagram, left: float, top: float, column: float
) -> None:
    width, height = figure.get_size_inches()
    text = f" {percent(trial.miou)} %, {quantity(trial.madds)}, {trial.cell.digest[:8]}"
    style: dict[str, Any] = {"fontsize": TEXT, "color": INK, "va": "top"}
    figure.text(left / width, 1 - top / height, letter, weight="bold", **style)
    figure.text((left + 0.12) / width, 1 - top / height, text, **style)
    tall = min(TALLEST, diagram.height * min(1.0, column / diagram.width))
    diagram.paint(figure, left, top + CAPTION - 0.06, column, tall)


def _places(trials: Sequence[TrialRecord]) -> tuple[list[int], list[float]]:
    return [trial.madds for trial in trials], [100 * trial.score for trial in trials]
