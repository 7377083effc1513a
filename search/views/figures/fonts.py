"""Fonts for names in any script: what DejaVu lacks, another installed font draws, and what none has is spelt."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.text import Text

DEFAULT = "DejaVu Sans"
LAST_RESORT = "Last Resort"
"""Matplotlib's own font of boxes."""


def give_fonts(figure: Figure) -> None:
    """Give each text of ``figure`` fonts that have its letters. Of ticks, which write their labels when they are drawn,
    ``spelt`` and ``families`` are asked for by whoever sets them."""
    for text in figure.findobj(Text):
        if not text.get_text().isascii():
            text.set_fontfamily(families(text.get_text()))
            text.set_text(spelt(text.get_text()))


def families(text: str) -> list[str]:
    """Names of fonts that together have the letters of ``text``, as far as any installed one has them."""
    return [DEFAULT, *(name for name, _ in _others(_missing(text)))]


def spelt(text: str) -> str:
    """``text``, with U+9053 in place of a letter that no font has: an empty box would say nothing."""
    unknown = _missing(text).difference(*(letters for _, letters in _others(_missing(text))))
    return re.sub(".", lambda match: f"U+{ord(match[0]):04X} " if ord(match[0]) in unknown else match[0], text).strip()


def font_file(text: str) -> Path:
    """The first font file that has all letters of ``text``, else the one with most of them: for pictures without fallbacks."""
    missing = _missing(text)
    return Path(_file_with_most(missing)) if missing else _default_file()


@cache
def _others(missing: frozenset[int]) -> Sequence[tuple[str, frozenset[int]]]:
    """Fonts that each add letters to those before, and which."""
    found: list[tuple[str, frozenset[int]]] = []
    left = missing
    while left:
        file = _file_with_most(left)
        added = left & _letters(file)
        if not added:
            break
        found.append((next(font.name for font in fontManager.ttflist if font.fname == file), added))
        left -= added
    return found


@cache
def _file_with_most(missing: frozenset[int]) -> str:
    files = sorted({font.fname for font in fontManager.ttflist if not font.name.startswith(LAST_RESORT)})
    return max([str(_default_file()), *files], key=lambda file: len(missing & _letters(file)))


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(get_font(file).get_charmap())
    except (OSError, RuntimeError):  # a font that cannot be read has none
        return frozenset()


def _missing(text: str) -> frozenset[int]:
    return frozenset(map(ord, text.replace("\n", ""))) - _letters(str(_default_file()))


@cache
def _default_file() -> Path:
    return Path(fontManager.findfont(DEFAULT))
