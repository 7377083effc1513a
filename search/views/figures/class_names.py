"""Names of classes as pictures have room for them."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from search.views.figures.fonts import spelt

LONGEST = 28
"""Characters; of a longer name its beginning and its end are shown."""
CHARACTER = 0.068
"""Inches, of 8 points, on average."""


def short_names(names: Sequence[str]) -> list[str]:
    """The names with letters that some font has, none too long, no two alike."""
    short = [_shortened(spelt(name)) for name in names]
    often = Counter(short)
    return [f"{name} ({number})" if often[name] > 1 else name for number, name in enumerate(short)]


def inches(names: Sequence[str]) -> float:
    """About how wide the widest is. A letter of a Chinese name takes the room of two."""
    return CHARACTER * max(sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in name) for name in names)


def _shortened(name: str) -> str:
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"
