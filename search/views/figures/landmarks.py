"""Well-known cells in a figure of scores and costs."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from search.deciding.algorithms.pareto import Cost
from search.findings.cost_front import Landmark
from search.views.figures.style import INK, PURPLE, SMALL, VERMILLION
from search.wording import quantity

NAMES = {"aspp": "ASPP", "dpc_top1": "DPC"}
"""Of the cells in conf/cell/, as the field calls them."""
COLOURS = (VERMILLION, PURPLE, INK)
DASHES = ("--", ":", "-.")


def name_of(landmark: Landmark) -> str:
    return NAMES.get(landmark.name, landmark.name)


def draw_landmarks(axes: Axes, landmarks: Sequence[Landmark], cost: Cost) -> None:
    """A star where the mIoU of a landmark was measured, else a line at its exact cost.

    One whose cost is far beyond those of the search is told in the legend alone: it would squeeze everything else.
    """
    low, high = axes.get_xlim()
    measured = [getattr(one, cost) for one in landmarks if one.miou is not None]
    low, high = min([low, *(value - 0.05 * (high - low) for value in measured)]), max([high, *measured])
    room = high + 0.35 * (high - low)
    near = [getattr(one, cost) for one in landmarks if high < getattr(one, cost) <= room]
    axes.set_xlim(low, max([high, *near]) + 0.04 * (high - low))
    edges = axes.get_xlim()
    for number, landmark in enumerate(landmarks):
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        value, name = getattr(landmark, cost), name_of(landmark)
        if landmark.miou is not None:
            _star(axes, value, 100 * landmark.miou, name, colour)
        elif edges[0] <= value <= edges[1]:
            axes.axvline(value, color=colour, linewidth=1.4, linestyle=dashes, zorder=1, label=f"{name}, not scored here")
        else:
            arrow = "→" if value > edges[1] else "←"
            label = f"{name}, not scored here: {arrow} {quantity(value)}"
            axes.plot([], [], color=colour, linewidth=1.4, linestyle=dashes, label=label)


def _star(axes: Axes, x: float, y: float, name: str, colour: str) -> None:
    style: dict[str, Any] = {"marker": "*", "s": 110, "color": [colour], "edgecolor": INK, "linewidth": 0.6, "zorder": 5}
    axes.scatter([x], [y], **style)
    is_right = x > sum(axes.get_xlim()) / 2
    place: dict[str, Any] = {"xytext": (-8 if is_right else 8, 0), "ha": "right" if is_right else "left", "va": "center"}
    axes.annotate(name, (x, y), textcoords="offset points", fontsize=SMALL, color=INK, zorder=6, parse_math=False, **place)
