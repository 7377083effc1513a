"""What each branch of a trained cell contributes (Chen et al. 2018, figure 5b): the numbers, and a picture of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from models.spec import CellSpec
from search.figures.style import BLUE, DPI, INK, VERMILLION, plain_axes, save_figure


def branch_contributions(projection_OI: npt.ArrayLike, num_branches: int) -> Sequence[float]:
    """The mean absolute weight with which the projection reads each branch.

    Args:
        projection_OI: the weight of the 1x1 convolution that follows the concat (``DensePredictionCell.project[1]``), with
            or without its two axes of size 1. Its inputs are the branches' channels, branch by branch.

    Raises:
        ValueError: the inputs cannot be shared out among so many branches.
    """
    weights = np.asarray(projection_OI, dtype=float)
    inputs = weights.shape[1] if weights.ndim in (2, 4) else 0
    if inputs == 0 or inputs % num_branches or weights.size != weights.shape[0] * inputs:
        raise ValueError(
            f"projection must be (filters, {num_branches} x filters) or (filters, {num_branches} x filters, 1, 1), "
            f"got {weights.shape}."
        )
    return [float(value) for value in np.abs(weights).reshape(len(weights), num_branches, -1).mean(axis=(0, 2))]


def draw_contributions(cell: CellSpec, contributions: Sequence[float], path: Path, title: str = "") -> None:
    """Draw one bar a branch, and their mean as a line."""
    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(cell)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10.5, fontweight="bold", loc="left", parse_math=False)
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    places = range(len(cell))
    axes.barh(places, contributions, color=BLUE, height=0.62)
    names = [f"b{index}  {branch}" for index, branch in enumerate(cell.branches, start=1)]
    axes.set_yticks(places, names, fontsize=8.5, parse_math=False)
    axes.set_ylim(len(cell) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(contributions))
    total = sum(contributions)
    for place, value in zip(places, contributions, strict=True):
        axes.annotate(f"{100 * value / total:.0f} %", (value, place), xytext=(4, 0), textcoords="offset points", va="center")
    axes.axvline(total / len(cell), color=VERMILLION, linewidth=1.4, linestyle="--", zorder=3)
    axes.set_xlabel("mean |weight| of the projection; dashed: the mean of all branches", color=INK)
    save_figure(figure, path)
