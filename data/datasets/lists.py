"""Text files that belong to a data set: lists of its files, and of its classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.datasets.contract import DatasetError, UnreadableError
from data.datasets.palette import Color

IGNORE = "ignore"
"""Stands for the ignore label where classes are named."""
_NUMBERS = r"(?P<red>\d+)[\s,;]+(?P<green>\d+)[\s,;]+(?P<blue>\d+)"
_COLOR_LAST = re.compile(rf"(?P<name>.*?)[\s,;:]+{_NUMBERS}")
_COLOR_FIRST = re.compile(rf"{_NUMBERS}[\s,;]+(?P<name>.*)")
_HEADER = re.compile(r"name\s*[,;]\s*r(ed)?\s*[,;]\s*g(reen)?\s*[,;]\s*b(lue)?", re.IGNORECASE)


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set in order of their ids.

    Attributes:
        colors: that stand for each, by name, where labels are colours; those of ``ignore`` do not count.
    """

    names: tuple[str, ...]
    colors: Mapping[str, Sequence[Color]]


def read_list(path: Path, columns: int, expected: str) -> list[tuple[str, ...]]:
    """The lines of a list file, in fields; empty lines do not count.

    Args:
        expected: what a line holds, for the error.

    Raises:
        DatasetError: it cannot be read, is empty, or a line has another number of fields.
    """
    rows = []
    for number, line in _lines(path, f"each of its lines is {expected!r}"):
        fields = tuple(line.split())
        if len(fields) != columns:
            raise DatasetError(f"{path}, line {number}: expected {expected!r}, got {line!r}.")
        rows.append(fields)
    if not rows:
        raise DatasetError(f"{path}: holds no line {expected!r}.")
    return rows


def read_class_list(path: Path) -> ClassList:
    """A class name per line, or a name and its colour: ``cat 128 0 0``, ``cat,128,0,0`` or ``128 0 0 cat``.

    Raises:
        DatasetError: it cannot be read, names a class or a colour twice, or has a colour for some lines only.
    """
    lines = _lines(path, "it lists one class name per line; or give dataset.classes=[...]")
    if lines and _HEADER.fullmatch(lines[0][1]):
        lines = lines[1:]
    found = [(number, *_name_and_color(line)) for number, line in lines]
    names: dict[str, int] = {}
    owners: dict[Color, int] = {}
    colors: dict[str, list[Color]] = {}
    for number, name, color in found:
        if (color is None) != (found[0][2] is None):
            raise DatasetError(
                f"{path}, line {number}: either every line has a colour or none has; line {found[0][0]} differs."
            )
        if name in names and name != IGNORE:
            raise DatasetError(f"{path}: {name!r} is named twice, in lines {names[name]} and {number}.")
        if color is not None:
            if max(color) > 255:
                raise DatasetError(f"{path}, line {number}: a colour is three numbers from 0 to 255, got {color}.")
            if color in owners:
                raise DatasetError(f"{path}: colour {color} is given twice, in lines {owners[color]} and {number}.")
            owners[color] = number
            colors.setdefault(name, []).append(color)
        names.setdefault(name, number)
    if not colors and IGNORE in names:
        raise DatasetError(
            f"{path}, line {names[IGNORE]}: {IGNORE!r} is not a class; leave the line out, and say which value does not count "
            "by dataset.ignore_label or dataset.label_map."
        )
    return ClassList(tuple(name for name in names if name != IGNORE), colors)


def _name_and_color(line: str) -> tuple[str, Color | None]:
    found = _COLOR_LAST.fullmatch(line) or _COLOR_FIRST.fullmatch(line)
    if not found:
        return line, None
    return found["name"].strip(), (int(found["red"]), int(found["green"]), int(found["blue"]))


def _lines(path: Path, expected: str) -> list[tuple[int, str]]:
    """The lines that hold something, with their numbers; editors on Windows put a byte order mark before the first."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read ({error}); {expected}.") from error
    found = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if unprintable := [number for number, line in found if not line.replace("\t", " ").isprintable()]:
        raise UnreadableError(f"{path}, line {unprintable[0]}: is not text; {expected}.")
    return found
