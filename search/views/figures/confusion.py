"""What a model takes for what, and how well it finds each class, as a picture."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from search.views.figures.style import BLUE, DPI, GREY, INK, ORANGE, plain_axes, save_figure
from training.metrics import ConfusionMatrix

WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", BLUE, "#00263B"])
DARK = 0.35
"""Shares from here on stand in white on their colour."""
CELL = 0.36
"""Inches a class."""
NUMBERS_END = 120
"""Where the column of numbers right of the bars ends, in percent."""


def draw_confusion(matrix: ConfusionMatrix, class_names: Sequence[str], path: Path, title: str) -> None:
    """Draw the confusion matrix, each row in percent of its label's pixels, and beside it the IoU of each class."""
    side = CELL * max(6, len(class_names))
    labels = 0.075 * max(len(name) for name in class_names)
    figure = Figure(figsize=(1.6 * side + labels + 1.2, side + labels + 1.1), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left", parse_math=False)
    shares, bars = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 0.5))
    _draw_shares(shares, matrix.shares_KK(), class_names)
    _draw_bars(bars, matrix)
    save_figure(figure, path)


def _draw_shares(axes: Axes, shares_KK: Tensor, class_names: Sequence[str]) -> None:
    places = range(len(class_names))
    axes.imshow(shares_KK.numpy(), cmap=WHITE_TO_BLUE, vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(places, class_names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(places, class_names, fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("label (100 % a row)")
    axes.set_xticks([place + 0.5 for place in places], minor=True)
    axes.set_yticks([place + 0.5 for place in places], minor=True)
    axes.grid(which="minor", color="#E5E5E5", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for row, shares_K in enumerate(shares_KK.tolist()):
        if math.isnan(shares_K[row]):
            axes.text(len(class_names) / 2 - 0.5, row, "no label", ha="center", va="center", fontsize=7, color=GREY)
            continue
        for column, share in enumerate(shares_K):
            if share >= 0.005:
                colour = "white" if share > DARK else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)


def _draw_bars(axes: Axes, matrix: ConfusionMatrix) -> None:
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    for row, iou in enumerate(matrix.iou_K().tolist()):
        is_scored = not math.isnan(iou)
        axes.barh(row, 100 * iou if is_scored else 0, height=0.66, color=BLUE)
        text, colour = (f"{100 * iou:.1f}", INK) if is_scored else ("does not occur", GREY)
        axes.text(NUMBERS_END, row, text, ha="right", va="center", fontsize=7, color=colour)
    axes.axvline(100 * matrix.miou(), color=ORANGE, linewidth=1.4, label=f"mean {100 * matrix.miou():.1f}")
    axes.set_xlim(0, NUMBERS_END)
    axes.set_xticks(range(0, 101, 25))
    axes.tick_params(axis="y", which="both", length=0, labelleft=False)
    axes.set_xlabel("IoU (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8, frameon=False)
