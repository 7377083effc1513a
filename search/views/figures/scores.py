"""The scores of a search as histograms (Chen et al. 2018, figure 4a), one for each rung."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from search.deciding.outcomes import Status
from search.journal.record import SearchRecord
from search.views.figures.style import (
    BLUE,
    INK,
    NARROW,
    TEXT,
    VERMILLION,
    WIDTH,
    far_below,
    new_figure,
    plain_axes,
    save_figure,
    tint,
)

PANELS = 6
"""Rungs shown at most: the last ones."""
MOST_BINS = 60


def draw_scores(record: SearchRecord, path: Path, width: float = WIDTH) -> None:
    """Draw, for each rung that any cell has reached, the mIoU there of all that reached it; those that ended there are filled.

    So a stopped trial counts at its own rung, among the scores that it was compared with, and completed ones alone fill the
    last. Trials that diverged, failed or still run are not among them. Scores far below all others share the first bin.
    """
    rungs = _scores_by_rung(record)
    shown = rungs[-PANELS:]
    is_narrow = width < NARROW
    figure = new_figure(width, 1.1 + (1.05 if is_narrow else 1.15) * max(len(shown), 2))
    all_axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    edges = _edges([score for rung in shown for score in rung.reached])
    for axes, rung in zip(all_axes, shown, strict=True):
        _draw_rung(axes, rung, edges, is_narrow)
    lowest = min(score for rung in shown for score in rung.reached)
    separator = "\n" if is_narrow else "; "
    below = f"{separator}the first bin also has all lower ones, down to {lowest:.1f}" if lowest < edges[0] else ""
    all_axes[-1].set_xlabel(f"mIoU {record.scored_on} at that rung (%){below}")
    figure.supylabel("trials", fontsize=TEXT)
    save_figure(figure, path)


@dataclass(frozen=True, slots=True)
class _Rung:
    """The scores at a rung in percent: of all trials that reached it, and of those that ended there.

    Attributes:
        is_full: whether those are the completed trials.
    """

    rung: int
    iteration: int
    reached: Sequence[float]
    ended: Sequence[float]
    is_full: bool


def _scores_by_rung(record: SearchRecord) -> list[_Rung]:
    scored = record.scored()
    rungs = []
    for index in range(max((len(trial.rungs) for trial in scored), default=0)):
        reached = [trial for trial in scored if len(trial.rungs) > index]
        ended = [trial for trial in reached if len(trial.rungs) == index + 1]
        rungs.append(
            _Rung(
                index + 1,
                reached[0].rungs[index].iteration,
                [100 * trial.rungs[index].miou for trial in reached],
                [100 * trial.rungs[index].miou for trial in ended],
                is_full=any(trial.status == Status.COMPLETED for trial in ended),
            )
        )
    return rungs


def _edges(scores: Sequence[float]) -> npt.NDArray[np.float64]:
    """Bins as wide as the number of scores allows."""
    floor = far_below(scores)
    kept = [score for score in scores if floor is None or score >= floor]
    bins = int(np.clip(2 * np.sqrt(len(kept)), 10, MOST_BINS))
    return np.asarray(np.histogram_bin_edges(kept, bins), dtype=float)


def _draw_rung(axes: Axes, rung: _Rung, edges: npt.NDArray[np.float64], is_narrow: bool) -> None:
    reached, ended = np.maximum(rung.reached, edges[0]), np.maximum(rung.ended, edges[0])
    plain_axes(axes)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3, min_n_ticks=1))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    style: dict[str, Any] = {"bins": edges, "histtype": "stepfilled"}
    if rung.is_full:
        axes.hist(ended, color=INK, **style)
        best = max(rung.ended)
        axes.axvline(best, color=VERMILLION, linewidth=1.5)
        text = [f"completed: {len(rung.ended):,}", f"best {best:.2f}"]
    else:
        axes.hist(reached, facecolor=tint(BLUE, 0.12), edgecolor=BLUE, linewidth=0.9, **style)
        axes.hist(ended, color=BLUE, **style)
        text = [f"reached: {len(rung.reached):,} (outline)", f"ended here: {len(rung.ended):,} (filled)"]
    lines = [f"rung {rung.rung}, iteration {rung.iteration:,}", *text]
    if is_narrow:
        axes.set_title(f"{lines[0]}; {lines[1]}\n{'; '.join(lines[2:])}", fontsize=TEXT, loc="left", color=INK)
        return
    at_side: dict[str, Any] = {"xycoords": "axes fraction", "va": "top", "fontsize": TEXT, "color": INK}
    axes.annotate("\n".join(lines), (1.01, 1.0), **at_side)
