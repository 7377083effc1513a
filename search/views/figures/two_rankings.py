"""Scores of cells by one training against those by a longer one, as a picture (Chen et al. 2018, figure 4b)."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes

from search.findings.estimates import rank_correlation, t_quantile, within_sd
from search.findings.two_rankings import Ranking
from search.views.figures.style import (
    BLUE,
    GREY,
    INK,
    NARROW,
    SMALL,
    TEXT,
    VERMILLION,
    WIDTH,
    new_figure,
    plain_axes,
    save_figure,
)

NAMED = 3
"""Cells that are numbered and named: the best after re-ranking."""
MOST_RANKS = 20
"""Cells whose old and new rank are drawn: the best after re-ranking."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """A cell and its scores, 0 to 1: by the first training, and by the longer one under each of its seeds.

    Attributes:
        is_completed: whether the first training ran to its end; one that was stopped early has no score to be compared by.
    """

    first: float
    by_seed: Sequence[float]
    name: str
    is_completed: bool = True

    @property
    def final(self) -> float:
        return fmean(self.by_seed)

    @classmethod
    def of(cls, ranking: Ranking) -> "list[Rescored]":
        """The cells of a re-ranking that are compared, in the order of their search."""
        return [
            cls(row.proxy_miou, list(row.by_seed.values()), row.cell.digest[:8], row.is_completed)
            for row in sorted(ranking.compared, key=lambda row: row.proxy_rank)
        ]


def draw_two_rankings(
    cells: Sequence[Rescored],
    path: Path,
    title: str = "",
    labels: tuple[str, str] = ("mIoU on the proxy task (%)", "mIoU after re-ranking (%)"),
    first: str = "proxy",
    width: float = WIDTH,
) -> None:
    """Draw cells by both scores, with Spearman's rho and its 95 % interval, and their old rank against the new one.

    Bars are 95 % intervals of a cell's mean over its seeds (Student's t), by the noise between seeds of all cells: two of one
    cell alone would say next to nothing. On the dashed line both scores are equal. Triangles are cells that the first training
    stopped early, which rho does not count.

    Args:
        cells: the best by the first training first.
        labels: of the axes.
        first: what the first score is called in the notes.
    """
    is_narrow = width < NARROW
    figure = new_figure(width, 1.5 * width if is_narrow else 0.52 * width, title)
    panels = figure.subplots(
        *((2, 1) if is_narrow else (1, 2)),
        height_ratios=(1.3, 1) if is_narrow else None,
        width_ratios=None if is_narrow else (1.5, 1),
    )
    ranked = sorted(enumerate(cells, start=1), key=lambda cell: -cell[1].final)
    _draw_scores(panels[0], [cell for _, cell in ranked], labels, letters=int(width / (0.065 if is_narrow else 0.11)))
    _draw_ranks(panels[1], ranked, first)
    save_figure(figure, path)


def _draw_scores(axes: Axes, ordered: Sequence[Rescored], labels: tuple[str, str], letters: int) -> None:
    plain_axes(axes)
    axes.set_xlabel(labels[0], fontsize=TEXT)
    axes.set_ylabel(labels[1], fontsize=TEXT)
    axes.margins(0.12)
    firsts, finals = [100 * cell.first for cell in ordered], [100 * cell.final for cell in ordered]
    if sd := within_sd([cell.by_seed for cell in ordered]):
        half = 100 * sd * t_quantile(sum(len(cell.by_seed) - 1 for cell in ordered))
        ends = [half / sqrt(len(cell.by_seed)) for cell in ordered]
        axes.errorbar(firsts, finals, ends, fmt="none", color=GREY, linewidth=1.0, capsize=2, zorder=2)
    for is_completed, marker in ((True, "o"), (False, "v")):
        alike = [cell for cell in ordered if cell.is_completed == is_completed]
        at = [100 * cell.first for cell in alike], [100 * cell.final for cell in alike]
        axes.scatter(*at, s=26, marker=marker, color=BLUE, edgecolor="white", linewidth=0.5, zorder=3)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    for rank, (x, y) in enumerate(zip(firsts[:NAMED], finals[:NAMED], strict=True), start=1):
        axes.scatter([x], [y], s=80, facecolor="none", edgecolor=VERMILLION, linewidth=1.4, zorder=4)
        beside: dict[str, Any] = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "fontsize": TEXT}
        axes.annotate(str(rank), (x, y), color=INK, zorder=5, weight="bold", **beside)
    bars = "bars: 95 %; " if sd else ""
    is_far = max(limits[0][0], limits[1][0]) > min(limits[0][1], limits[1][1])
    line = "equal scores lie outside" if is_far else "dashed: equal scores"
    lines = [*textwrap.wrap(_verdict(ordered), letters), f"{bars}{line}"]
    axes.set_title("\n".join(lines), fontsize=SMALL, loc="left", color=INK)


def _draw_ranks(axes: Axes, ranked: Sequence[tuple[int, Rescored]], first: str) -> None:
    """A line from each cell's old rank to its new one, those of the best in colour."""
    axes.set_axis_off()
    shown = ranked[:MOST_RANKS]
    for place, (old, cell) in enumerate(shown):
        is_named = place < NAMED
        colour, thickness = (VERMILLION, 1.6) if is_named else (GREY, 0.8)
        axes.plot(
            [0, 1],
            [old, place + 1],
            color=colour,
            linewidth=thickness,
            marker="o",
            markersize=3,
            zorder=3 if is_named else 2,
        )
        style: dict[str, Any] = {"va": "center", "fontsize": SMALL, "color": INK, "parse_math": False}
        axes.text(-0.05, old, str(old), ha="right", **style)
        axes.text(1.05, place + 1, f"{place + 1}  {cell.name}", ha="left", weight="bold" if is_named else "normal", **style)
    of_all = f", the best {len(shown)} of {len(ranked)}" if len(shown) < len(ranked) else ""
    axes.set_title(f"rank by {first}, and now{of_all}", fontsize=SMALL, loc="left", color=INK)
    axes.set_xlim(-0.25, 1.9)
    axes.set_ylim(max(old for old, _ in shown) + 0.6, 0.4)


def _verdict(cells: Sequence[Rescored]) -> str:
    completed = [cell for cell in cells if cell.is_completed]
    stopped = len(cells) - len(completed)
    without = f"; {stopped} stopped early (triangles) not counted" if stopped else ""
    fitted = rank_correlation([cell.first for cell in completed], [cell.final for cell in completed])
    if fitted is None:
        return f"{len(completed)} cells: too few, or too similar, for a rank correlation{without}"
    return f"Spearman's rho {fitted.text()}{without}"
