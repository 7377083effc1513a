"""Curves of several ways to search: told apart where they coincide, with intervals that do not pile up."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from search.views.figures.style import BLUE, BROWN, GREEN, GREY, INK, PURPLE, VERMILLION

Floats = npt.NDArray[np.float64]

BARS = 2
"""Intervals along the second half of a curve, where it matters which is ahead: more would be a thicket."""
_COLOURS = (INK, BLUE, VERMILLION, GREEN, PURPLE, BROWN, GREY)
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True, slots=True)
class Curve:
    """Means at some places, with the ends of their intervals; None where there is a single curve."""

    places: Floats
    means: Floats
    low: Floats | None
    high: Floats | None


def styles(ways: Sequence[tuple[str, str]]) -> list[tuple[str, object]]:
    """A colour for each algorithm and dashes for each scheduler, of pairs of both."""
    colours = dict(zip(dict.fromkeys(one for one, _ in ways), cycle(_COLOURS), strict=False))
    dashes = dict(zip(dict.fromkeys(two for _, two in ways), cycle(_DASHES), strict=False))
    return [(colours[one], dashes[two]) for one, two in ways]


def draw_curves(axes: Axes, curves: Sequence[Curve], names: Sequence[str], ways: Sequence[tuple[str, object]]) -> None:
    """Each on top of those before and thinner than they, so that one that runs along another shows; their intervals as bars,
    those of each a little further on than those of the one before."""
    for number, (curve, name, (colour, dashes)) in enumerate(zip(curves, names, ways, strict=True)):
        thickness = 1.1 + 1.7 * (len(curves) - 1 - number) / max(len(curves) - 1, 1)
        axes.plot(curve.places, curve.means, color=colour, linestyle=dashes, linewidth=thickness, label=name)  # type: ignore[arg-type]
        if curve.low is None or curve.high is None:
            continue
        share = 0.5 + 0.5 * (np.arange(BARS) + (number + 0.5) / len(curves)) / BARS
        at = np.unique((share * (len(curve.places) - 1)).astype(int))
        ends = np.abs(np.stack([curve.low, curve.high])[:, at] - curve.means[at])
        axes.errorbar(curve.places[at], curve.means[at], ends, fmt="none", color=colour, linewidth=1.1, capsize=2, zorder=3)


def log_ticks(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis whose numbers do not overlap, however short it is."""
    axes.set_xscale("log")
    decades = math.log10(high / low) if high > low > 0 else 0.0
    steps = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=9) if decades > 0.8 else MaxNLocator(4))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def time_unit(hours: Iterable[float]) -> tuple[str, float]:
    """The unit in which the longest of some times is a number to read, and how many of it make an hour."""
    longest_s = 3600 * max(hours)
    name, size = next((unit for unit in _UNITS if longest_s >= 2 * unit[1]), _UNITS[-1])
    return name, 3600 / size
