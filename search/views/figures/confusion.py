"""What a model takes for what, and how well it finds each class, as a picture."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from search.views.figures.class_names import inches, short_names
from search.views.figures.fonts import families
from search.views.figures.many_classes import draw_many_classes
from search.views.figures.style import BLUE, GREY, INK, SMALL, TEXT, VERMILLION, new_figure, plain_axes, save_figure
from training.metrics import ConfusionMatrix

WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", BLUE, "#00263B"])
DARK = 0.35
"""Shares from here on stand in white on their colour."""
CELL = 0.36
"""Inches a class."""
MOST_SQUARES = 40
"""Classes whose matrix a person can still read."""
NUMBERS_END = 120
"""Where the column of numbers right of the bars ends, in percent."""
ABOVE, BELOW, GAP, EDGE = 0.75, 0.55, 0.15, 0.1


def draw_confusion(matrix: ConfusionMatrix, class_names: Sequence[str], path: Path, title: str) -> None:
    """Draw the confusion matrix, each row in percent of its label's pixels, and beside it the IoU of each class.

    Of more than ``MOST_SQUARES`` classes, their IoU in order and the worst confusions. All is placed in inches: a row of the
    matrix and its bar are at one height whatever the names are.
    """
    names = short_names(class_names)
    if len(names) > MOST_SQUARES:
        draw_many_classes(matrix, names, path, title)
        return
    side, labels = CELL * len(names), inches(names) + 0.2
    left = labels + 0.35
    bars = max(1.6, side / 2)
    width, height = max(left + side + GAP + bars + EDGE, 5.0), ABOVE + side + labels + BELOW
    figure = new_figure(width, height, title, layout=None)
    below = (labels + BELOW) / height
    _draw_shares(figure.add_axes((left / width, below, side / width, side / height)), matrix.shares_KK(), names)
    _draw_bars(figure.add_axes(((left + side + GAP) / width, below, bars / width, side / height)), matrix)
    save_figure(figure, path)


def _draw_shares(axes: Axes, shares_KK: Tensor, names: Sequence[str]) -> None:
    places, letters = range(len(names)), families("".join(names))
    axes.imshow(shares_KK.numpy(), cmap=WHITE_TO_BLUE, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(places, names, rotation=90, fontsize=TEXT, family=letters, parse_math=False)
    axes.set_yticks(places, names, fontsize=TEXT, family=letters, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("taken for", fontsize=TEXT)
    axes.set_ylabel("label (100 % per row)", fontsize=TEXT)
    axes.set_xticks([place + 0.5 for place in places], minor=True)
    axes.set_yticks([place + 0.5 for place in places], minor=True)
    axes.grid(which="minor", color="#E5E5E5", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for row, shares_K in enumerate(shares_KK.tolist()):
        if math.isnan(shares_K[row]):
            axes.text(len(names) / 2 - 0.5, row, "no label", ha="center", va="center", fontsize=SMALL, color=GREY)
            continue
        for column, share in enumerate(shares_K):
            if share >= 0.005:
                colour = "white" if share > DARK else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=SMALL, color=colour)


def _draw_bars(axes: Axes, matrix: ConfusionMatrix) -> None:
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    for row, iou in enumerate(matrix.iou_K().tolist()):
        is_scored = not math.isnan(iou)
        axes.barh(row, 100 * iou if is_scored else 0, height=0.66, color=BLUE)
        text, colour = (f"{100 * iou:.1f}", INK) if is_scored else ("does not occur", GREY)
        axes.text(NUMBERS_END, row, text, ha="right", va="center", fontsize=SMALL, color=colour)
    axes.axvline(100 * matrix.miou(), color=VERMILLION, linewidth=1.4, label=f"mean {100 * matrix.miou():.1f}")
    axes.set_xlim(0, NUMBERS_END)
    axes.set_ylim(matrix.num_classes - 0.5, -0.5)
    axes.set_xticks(range(0, 101, 25))
    axes.tick_params(axis="y", which="both", length=0, labelleft=False)
    axes.set_xlabel("IoU (%)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=TEXT, frameon=False, borderaxespad=0.2)
