"""The course of a training as a picture: loss, mIoU, and IoU of each class over iterations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from search.findings.training_course import CoursePoint
from search.views.figures.class_names import short_names
from search.views.figures.style import (
    BLUE,
    BROWN,
    GREEN,
    INK,
    NARROW,
    PURPLE,
    SMALL,
    VERMILLION,
    WIDTH,
    new_figure,
    plain_axes,
    save_figure,
    tint,
)

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, BROWN, INK)
NAMED = 6
"""Classes that have a name and a colour: of more, the best and the worst at the end."""


def draw_training(steps: Sequence[CoursePoint], path: Path, title: str = "", width: float = WIDTH) -> None:
    """Draw it; the best validation, whose model is kept, is ringed."""
    is_narrow = width < NARROW
    figure = new_figure(width, 1.35 * width if is_narrow else 0.42 * width, title)
    mosaic: Any = [["loss", "miou"], ["classes", "names"]] if is_narrow else [["loss", "miou", "classes"]]
    panels = figure.subplot_mosaic(mosaic, **({"height_ratios": (1, 1.5)} if is_narrow else {"width_ratios": (1, 1, 1.6)}))
    places = [step.iteration for step in steps]
    mious = [100 * step.miou for step in steps]
    style: dict[str, Any] = {"color": INK, "linewidth": 1.3, "marker": "o", "markersize": 2.5}
    panels["loss"].plot(places, [step.loss for step in steps], **style)
    panels["miou"].plot(places, mious, **style)
    best = max(range(len(steps)), key=mious.__getitem__)
    ring: dict[str, Any] = {"s": 60, "facecolor": "none", "edgecolor": VERMILLION, "linewidth": 1.4, "zorder": 4}
    panels["miou"].scatter([places[best]], [mious[best]], **ring)
    _draw_classes(panels["classes"], steps, is_narrow)
    if is_narrow:
        panels["names"].set_axis_off()  # their room
    for name, text in (("loss", "training loss"), ("miou", "mIoU (%)"), ("classes", "IoU by class (%)")):
        axes = panels[name]
        axes.set_ylabel(text)
        axes.set_xlabel("iterations")
        axes.xaxis.set_major_locator(MaxNLocator(2 if is_narrow else 4, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        plain_axes(axes)
    save_figure(figure, path)


def _draw_classes(axes: Axes, steps: Sequence[CoursePoint], is_narrow: bool) -> None:
    """A line a class; the names of those that end highest and lowest stand at their ends, apart from each other."""
    names = list(steps[0].iou)
    known = [name for name in names if steps[-1].iou[name] is not None]
    ordered = sorted(known, key=lambda name: -(steps[-1].iou[name] or 0.0))
    half = NAMED // 2
    named = ordered if len(ordered) <= NAMED else [*ordered[:half], *ordered[-half:]]
    places = [step.iteration for step in steps]
    for name in names:
        values = [float("nan") if step.iou[name] is None else 100 * (step.iou[name] or 0.0) for step in steps]
        is_named = name in named
        colour = COLOURS[named.index(name) % len(COLOURS)] if is_named else tint(INK, 0.25)
        axes.plot(places, values, color=colour, linewidth=1.4 if is_named else 0.8, zorder=3 if is_named else 2)
    axes.set_ylim(0, 100)
    ends = [100 * (steps[-1].iou[name] or 0.0) for name in named]
    shown = dict(zip(names, short_names(names), strict=True))
    for name, value, y in zip(named, ends, _apart(ends, 7.0), strict=True):
        colour = COLOURS[named.index(name) % len(COLOURS)]
        size = SMALL - 1 if is_narrow else SMALL
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": size, "color": colour}
        note = axes.annotate(f"{shown[name]} {value:.1f}", (1.03, y), parse_math=False, **place)
        note.set_in_layout(not is_narrow)
    if len(ordered) > NAMED:
        axes.set_title(f"the best and worst {half} of {len(names)} named", fontsize=SMALL, loc="left")


def _apart(values: Sequence[float], least: float) -> list[float]:
    """Falling values moved down, and up again from the bottom, until they are so far from each other."""
    moved = list(values)
    for number in range(1, len(moved)):
        moved[number] = min(moved[number], moved[number - 1] - least)
    if moved and moved[-1] < 0:
        moved[-1] = 0.0
        for number in range(len(moved) - 2, -1, -1):
            moved[number] = max(moved[number], moved[number + 1] + least)
    return moved
