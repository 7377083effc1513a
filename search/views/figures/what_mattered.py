"""What explains the scores of a search, as a picture: a panel for each choice."""

from math import ceil
from pathlib import Path

from matplotlib.axes import Axes

from search.findings.what_mattered import Mattered, WhatMattered
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
from search.wording import percent

PANEL = 1.4
"""Inches of a panel at least."""
FEWEST = 5
"""Cells of an interval that is drawn whole."""


def draw_what_mattered(found: WhatMattered, path: Path, width: float = WIDTH) -> None:
    """Draw the mean score of the cells that chose alike, choice by choice, the most important first."""
    columns = min(4, int(width / PANEL))
    rows = ceil(len(found.choices) / columns)
    figure = new_figure(width, 0.8 + 1.75 * rows)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes, choice in zip(panels, found.choices, strict=False):
        _draw_choice(axes, choice)
    panels[0].set_ylim(*_limits(found))
    for axes in panels[len(found.choices) :]:
        axes.set_axis_off()
    figure.supylabel(f"mean mIoU at rung {found.rung} (%)", fontsize=TEXT, color=INK)
    note = "filled: as the best cell chose; per cent: share of what sets the best tenth of the cells apart; grey: may be chance"
    effects = "below: points of mIoU with 95 % intervals, the other choices held"
    caveat = "all as if cells were independent; mutants repeat what their parents have"
    parts = [*note.split("; "), effects, caveat] if width < NARROW else [note, f"{effects}; {caveat}"]
    figure.supxlabel("\n".join(parts), fontsize=SMALL, color=INK)
    save_figure(figure, path)


def _draw_choice(axes: Axes, choice: Mattered) -> None:
    plain_axes(axes)
    colour = GREY if choice.is_chance else BLUE
    axes.set_title(f"{choice.name}  {100 * choice.importance:.0f} %", fontsize=8, loc="left", color=colour, parse_math=False)
    for place, level in enumerate(choice.levels):
        mean = level.miou
        if mean.low is not None and mean.high is not None:
            axes.plot([place, place], [100 * mean.low, 100 * mean.high], color=colour, linewidth=3, alpha=0.45)
        filled = VERMILLION if level.has_best else "white"
        axes.scatter([place], [100 * mean.value], s=24, facecolor=filled, edgecolor=colour, linewidth=1.4, zorder=3)
    axes.set_xticks(range(len(choice.levels)), [level.choice for level in choice.levels], fontsize=7.5)
    axes.set_xlabel(f"{choice.step}:\n{choice.effect.text(percent)}", fontsize=6.5, parse_math=False)
    axes.set_xlim(-0.5, len(choice.levels) - 0.5)
    axes.tick_params(axis="y", labelsize=7.5)


def _limits(found: WhatMattered) -> tuple[float, float]:
    levels = [level.miou for choice in found.choices for level in choice.levels]
    ends = [end for mean in levels if mean.count >= FEWEST for end in (mean.low, mean.high) if end is not None]
    drawn = [100 * value for value in [*ends, *(mean.value for mean in levels)]]
    margin = 0.06 * (max(drawn) - min(drawn)) or 1.0
    return min(drawn) - margin, max(drawn) + margin
