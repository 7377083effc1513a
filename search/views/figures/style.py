"""What all figures share: colours, sizes, axes, and how a file is written. The suffix of a path chooses png, pdf or svg."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from data.system.files import whole_file
from search.views.figures.fonts import give_fonts

BROWN, GREEN, BLUE, VERMILLION, PURPLE = "#A65900", "#00AA64", "#0072B2", "#EF6900", "#CD6CE9"
"""Okabe and Ito's (2008) hues, moved until each stands out from white paper (3:1) and colour-blind readers, too, tell any two
of them, ink and grey apart (``tests/search/views/test_colours.py``)."""
INK, GREY = "#222222", "#777777"
DPI = 200
MANY = 1000
"""Marks that a vector image would draw one by one: of more, it holds a picture of them."""
WIDTH, NARROW = 7.2, 5.0
"""Inches: of a figure unless another width is asked for, and below which legends stand under their axes."""
TEXT, SMALL = 8.0, 7.0
"""Points, whatever the width: a figure for a column is drawn anew and not shrunk."""


def new_figure(width: float, height: float, title: str = "", layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of so many inches under its title, which is wrapped to the width."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    if title:
        lines = textwrap.fill(title, int(width / 0.1))
        figure.suptitle(lines, fontsize=10.5, fontweight="bold", x=0.01, ha="left", parse_math=False)
    return figure


def plain_axes(axes: Axes) -> None:
    """A light grid behind the data, no box around it, and all text of one size."""
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(TEXT)


def place_legend(figure: Figure, axes: Axes, width: float) -> Any:
    """Where it covers nothing: beside the axes, or below them where the figure is narrow."""
    handles, labels = axes.get_legend_handles_labels()
    style: dict[str, Any] = {"fontsize": TEXT, "frameon": False}
    if width >= NARROW:
        return figure.legend(handles, labels, loc="outside right upper", **style)
    return figure.legend(handles, labels, loc="outside lower center", ncols=2, **style)


def far_below(percents: Sequence[float]) -> float | None:
    """Where an axis of these scores begins, so that a few bad cells do not squeeze all others; None if none is that far.

    Tukey's fence, one and a half times the quartiles' distance below the lower one, where it saves a quarter of the axis and
    leaves out at most a twentieth of the scores.
    """
    scores = np.asarray(percents, dtype=float)
    if len(scores) < 8:
        return None
    low, high = np.quantile(scores, [0.25, 0.75])
    fence = float(low - 1.5 * (high - low))
    kept = scores[scores >= fence]
    is_worth_it = kept.min() - scores.min() > (scores.max() - scores.min()) / 4
    return fence if is_worth_it and len(kept) >= 0.95 * len(scores) else None


def cut_below(axes: Axes, places: Sequence[float], percents: Sequence[float], shown: Sequence[float] = ()) -> None:
    """Let the y axis begin where ``far_below`` says; what is below stands at the lower edge, and how low it is in words.

    Args:
        shown: percents of what else is drawn, and must be seen.
    """
    floor = far_below(percents)
    if floor is None:
        return
    floor = min([floor, *shown])
    kept = [percent for percent in (*percents, *shown) if percent >= floor]
    low = [(place, percent) for place, percent in zip(places, percents, strict=True) if percent < floor]
    if not low:
        return
    margin = 0.06 * (max(kept) - min(kept))
    axes.set_ylim(min(kept) - 2 * margin, max(kept) + margin)
    tell_below(axes, [place for place, _ in low], min(percent for _, percent in low))


def tell_below(axes: Axes, places: Sequence[float], lowest: float) -> None:
    """Mark scores below the y axis at its lower edge, and say how many they are and how low the lowest is, in percent."""
    style: dict[str, Any] = {"marker": "v", "s": 14, "facecolor": "white", "edgecolor": INK, "linewidth": 0.8, "zorder": 5}
    at_places, is_many = axes.get_xaxis_transform(), len(places) > MANY
    axes.scatter(places, [0.025] * len(places), transform=at_places, rasterized=is_many, **style)
    note = f"▽ {len(places):,} below this axis, down to {lowest:.1f}"
    at_edge: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "bottom", "fontsize": SMALL, "color": INK}
    axes.annotate(note, (0.99, 0.05), zorder=6, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6}, **at_edge)


def tint(colour: str, strength: float) -> tuple[float, ...]:
    """``colour`` thinned on white paper."""
    return tuple(1 - strength * (1 - part) for part in to_rgb(colour))


def save_figure(figure: Figure, path: Path) -> None:
    """Write the file whole or not at all: a person may be looking at the one before. Equal figures are equal files.

    Text stays text: TrueType in a pdf, which camera-ready checks ask for, and letters in an svg.
    """
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    give_fonts(figure)
    with whole_file(path) as partial, rc_context({"svg.hashsalt": "dpc", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(partial, format=path.suffix[1:] or "png", metadata=metadata)
