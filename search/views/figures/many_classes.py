"""How well a model finds each of many classes, and what it confuses most: more than a matrix has room for."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from search.views.figures.class_names import inches
from search.views.figures.fonts import families
from search.views.figures.style import BLUE, GREY, INK, SMALL, TEXT, VERMILLION, new_figure, plain_axes, save_figure
from training.metrics import ConfusionMatrix

ROWS = 50
"""Of a column of classes."""
WORST = 20
"""Confusions that are drawn."""
ROW, BARS, GAP = 0.16, 1.7, 0.35
"""Inches."""
ABOVE, BETWEEN, BELOW = 0.65, 0.95, 0.5


def draw_many_classes(matrix: ConfusionMatrix, names: Sequence[str], path: Path, title: str) -> None:
    """Draw the IoU of each class, best first, in columns; below them the confusions that hurt most, with their share."""
    ious = matrix.iou_K().tolist()
    order = sorted(range(len(names)), key=lambda place: -1.0 if math.isnan(ious[place]) else ious[place], reverse=True)
    columns = [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
    labels, tall = inches(names) + 0.15, ROW * min(ROWS, len(order))
    worst = worst_confusions(matrix)
    width = max(len(columns) * (labels + BARS + GAP), 2 * labels + 3.2)
    height = ABOVE + tall + BETWEEN + ROW * len(worst) + BELOW
    figure = new_figure(width, height, title, layout=None)
    for number, column in enumerate(columns):
        left = (number * (labels + BARS + GAP) + labels) / width
        high = ROW * len(column)
        axes = figure.add_axes((left, 1 - (ABOVE + high) / height, BARS / width, high / height))
        values = [100 * ious[place] for place in column]
        _draw_bars(axes, [names[place] for place in column], values, "absent")
        axes.axvline(100 * matrix.miou(), color=VERMILLION, linewidth=1.2)
        axes.set_title(f"IoU (%), mean {100 * matrix.miou():.1f}" if number == 0 else "", fontsize=TEXT, loc="left")
    left = 2 * labels + 0.3
    place = (left / width, BELOW / height, (width - left - GAP) / width, ROW * len(worst) / height)
    axes = figure.add_axes(place)
    texts = [f"{names[label]} → {names[taken]}" for label, taken, _ in worst]
    _draw_bars(axes, texts, [100 * share for *_, share in worst], "")
    axes.set_title(f"The {len(worst)} worst confusions: label → taken for, % of the label's pixels", fontsize=TEXT, loc="left")
    save_figure(figure, path)


def worst_confusions(matrix: ConfusionMatrix) -> list[tuple[int, int, float]]:
    """Label, what it was taken for, and the share of the label's pixels that were: most pixels of all first."""
    wrong_KK = matrix.counts_KK.clone()
    wrong_KK.fill_diagonal_(0)
    shares_KK, num_classes = matrix.shares_KK().tolist(), matrix.num_classes
    places = wrong_KK.flatten().argsort(descending=True, stable=True)[:WORST].tolist()
    pairs = [divmod(place, num_classes) for place in places]
    return [(label, taken, shares_KK[label][taken]) for label, taken in pairs if wrong_KK[label, taken] > 0]


def _draw_bars(axes: Axes, names: Sequence[str], percents: Sequence[float], absent: str) -> None:
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.barh(range(len(names)), [0 if math.isnan(one) else one for one in percents], height=0.7, color=BLUE)
    for row, percent in enumerate(percents):
        text = absent if math.isnan(percent) else f"{percent:.1f}"
        axes.text(118, row, text, ha="right", va="center", fontsize=SMALL - 1, color=GREY if math.isnan(percent) else INK)
    axes.set_yticks(range(len(names)), names, fontsize=SMALL - 1, family=families("".join(names)), parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 120)
    axes.set_xticks(range(0, 101, 25))
    axes.tick_params(axis="y", length=0)
