"""Cells beside each other: two with what they have in common, and the line that led to a search's best."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from models.spec import CellSpec
from search.findings.kinship import inherited_branches, shared_branches
from search.journal.record import TrialRecord
from search.views.figures.cell_diagram import Diagram
from search.views.figures.cell_layout import FULL, SMALL_CARDS
from search.views.figures.operator_card import window_of
from search.views.figures.style import GREY, INK, NARROW, SMALL, TEXT, WIDTH, new_figure, save_figure
from search.wording import percent

# In inches.
GAP, CAPTION, NOTE = 0.35, 0.34, 0.3
TALLEST = 2.2
"""A cell of a line."""


def draw_pair(cells: Mapping[str, CellSpec], path: Path) -> None:
    """Draw two cells by their names, and grey what both have: the largest tree from the backbone down that is in either."""
    (first, one), (second, other) = cells.items()
    window = window_of([one, other])
    both = [Diagram(cell, FULL, pale, window) for cell, pale in zip((one, other), shared_branches(one, other), strict=True)]
    width = sum(diagram.width for diagram in both) + 3 * GAP
    tall = max(diagram.height for diagram in both)
    figure = new_figure(width, CAPTION + 2 * GAP + tall + NOTE, layout=None)
    left = GAP
    for name, diagram in zip((first, second), both, strict=True):
        _caption(figure, name, left, 0.12)
        diagram.paint(figure, left - 0.1, CAPTION + GAP / 2, diagram.width + 0.2, diagram.height + 0.1)
        left += diagram.width + GAP
    shared = len(both[0].pale)
    note = f"grey: the {shared} branches that both have" if shared else "no branch from the backbone down is in both"
    figure.text(GAP / width, 0.12 / figure.get_figheight(), note, fontsize=TEXT, color=GREY)
    save_figure(figure, path)


def draw_ancestry(line: Sequence[TrialRecord], path: Path, width: float = WIDTH) -> None:
    """Draw the cells of a line, the eldest first, and grey what each has of the one before."""
    kept, window = inherited_branches(line), window_of([trial.cell for trial in line])
    columns = min(len(line), 2 if width < NARROW else 5)
    column = (width - GAP * (columns + 1)) / columns
    diagrams = [Diagram(trial.cell, SMALL_CARDS, kept[trial.number], window) for trial in line]
    heights = [min(TALLEST, one.height * min(1.0, column / one.width)) for one in diagrams]
    rows = ceil(len(line) / columns)
    talls = [max(heights[row * columns : (row + 1) * columns]) for row in range(rows)]
    figure = new_figure(width, sum(talls) + rows * (CAPTION + GAP), layout=None)
    top = 0.1
    for number, (trial, diagram) in enumerate(zip(line, diagrams, strict=True)):
        row, place = divmod(number, columns)
        top += talls[row - 1] + CAPTION + GAP if number and place == 0 else 0.0
        left = GAP + place * (column + GAP)
        _caption(figure, f"{percent(trial.miou)} %\ntrial {trial.number:,}", left, top)
        diagram.paint(figure, left, top + CAPTION, column, heights[number])
        if number + 1 < len(line):
            _arrow(figure, left + column + GAP / 2, top + CAPTION / 2)
    save_figure(figure, path)


def _caption(figure: Figure, text: str, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "va": "top", "weight": "bold", "parse_math": False}
    figure.text(left / width, 1 - top / height, text, **style)


def _arrow(figure: Figure, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, "→", fontsize=TEXT + 2, color=GREY, ha="center", va="center")
