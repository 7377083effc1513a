"""What all figures share: colours, axes, and how a file is written. The suffix of a path chooses png, pdf or svg."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from data.system.files import whole_file

ORANGE, GREEN, BLUE, VERMILLION, PURPLE = "#E69F00", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
"""Told apart by colour-blind readers, too (Okabe and Ito 2008)."""
INK, GREY = "#222222", "#777777"
DPI = 200
MANY = 1000
"""Marks that a vector image would draw one by one: of more, it holds a picture of them."""


def plain_axes(axes: Axes) -> None:
    """A light grid behind the data, and no box around it."""
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def tint(colour: str, strength: float) -> tuple[float, ...]:
    """``colour`` thinned on white paper."""
    return tuple(1 - strength * (1 - part) for part in to_rgb(colour))


def save_figure(figure: Figure, path: Path) -> None:
    """Write the file whole or not at all: a person may be looking at the one before. Equal figures are equal files."""
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with whole_file(path) as partial, rc_context({"svg.hashsalt": "dpc"}):
        figure.savefig(partial, format=path.suffix[1:] or "png", metadata=metadata)
