"""What the values or colours of label files mean: the classes that they stand for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.datasets.contract import DatasetInfo, LabelRangeError, UInt8Array
from data.datasets.label_files import read_label_colors, read_label_image
from data.datasets.palette import Color

Array = npt.NDArray[Any]


class Labelling(Protocol):
    """How a label file becomes class ids."""

    def read(self, path: Path, upright: bool) -> Array:
        """What the file holds, (H, W) or (H, W, channels).

        Raises:
            DatasetError: it cannot be read, or holds something else.
        """
        ...

    def classes(self, stored: Array, path: Path) -> UInt8Array:
        """Class ids or the ignore label (H, W).

        Raises:
            LabelRangeError: a pixel stands for neither.
        """
        ...

    @property
    def meaning(self) -> bytes:
        """Differs where the same file would become other classes."""
        ...


@dataclass(frozen=True)
class Values:
    """Label files of one channel.

    Attributes:
        class_of: the class id or ignore label of each value that may occur.
        accepted: these values, for people.
        reader: of a file's values; None reads images.
    """

    class_of: Mapping[int, int]
    ignore_label: int
    accepted: str
    reader: Callable[[Path], Array] | None = None

    def read(self, path: Path, upright: bool) -> Array:
        return self.reader(path) if self.reader else read_label_image(path, upright)

    def classes(self, stored: Array, path: Path) -> UInt8Array:
        wrong_HW = ~self._is_accepted[stored]
        if wrong_HW.any():
            found, counts = np.unique(stored[wrong_HW], return_counts=True)
            row, column = np.argwhere(wrong_HW)[0]
            raise LabelRangeError(
                f"{path}: label {stored[row, column]} at row {row}, column {column} is out of range; accepted are "
                f"{self.accepted}.",
                dict(zip(found.tolist(), counts.tolist(), strict=True)),
            )
        return self._table[stored]

    @property
    def meaning(self) -> bytes:
        return self._table.tobytes()

    @cached_property
    def _table(self) -> UInt8Array:
        table = np.full(256, self.ignore_label, np.uint8)
        table[list(self.class_of)] = list(self.class_of.values())
        return table

    @cached_property
    def _is_accepted(self) -> npt.NDArray[np.bool_]:
        accepted = np.zeros(256, np.bool_)
        accepted[list(self.class_of)] = True
        return accepted


def class_ids(info: DatasetInfo, reader: Callable[[Path], Array] | None = None) -> Values:
    """Files that hold the class ids themselves, and the ignore label."""
    class_of = {value: value for value in (*range(info.num_classes), info.ignore_label)}
    return Values(class_of, info.ignore_label, f"0 to {info.num_classes - 1} and {info.ignore_label} (ignore)", reader)


def mapped_values(class_of: Mapping[int, int], info: DatasetInfo) -> Values:
    """Files whose values stand for classes."""
    return Values(class_of, info.ignore_label, ranges(sorted(class_of)))


@dataclass(frozen=True)
class Colors:
    """Label files whose colours stand for classes.

    Attributes:
        class_of: the class id or ignore label of each colour that may occur.
    """

    class_of: Mapping[Color, int]

    def read(self, path: Path, upright: bool) -> Array:
        return read_label_colors(path, upright)

    def classes(self, stored: Array, path: Path) -> UInt8Array:
        keys_HW = _keys(stored)
        places_HW = np.searchsorted(self._known, keys_HW).clip(max=len(self._known) - 1)
        wrong_HW = self._known[places_HW] != keys_HW
        if wrong_HW.any():
            found, counts = np.unique(stored[wrong_HW], axis=0, return_counts=True)
            row, column = np.argwhere(wrong_HW)[0]
            raise LabelRangeError(
                f"{path}: colour {_named(stored[row, column])} at row {row}, column {column} belongs to no class; accepted are "
                f"{', '.join(map(_named, sorted(self.class_of)))}.",
                dict(zip(map(_named, found), counts.tolist(), strict=True)),
            )
        return self._classes[places_HW]

    @property
    def meaning(self) -> bytes:
        return self._known.tobytes() + self._classes.tobytes()

    @cached_property
    def _known(self) -> npt.NDArray[np.uint32]:
        return _keys(np.array(sorted(self.class_of), np.uint8))

    @cached_property
    def _classes(self) -> UInt8Array:
        return np.array([self.class_of[color] for color in sorted(self.class_of)], np.uint8)


def _keys(colors: UInt8Array) -> npt.NDArray[np.uint32]:
    """Each colour as one number; they sort alike."""
    red, green, blue = np.moveaxis(colors.astype(np.uint32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _named(color: Sequence[int] | Array) -> str:
    return "({}, {}, {})".format(*map(int, color))


def ranges(values: Sequence[int]) -> str:
    """Ascending ones in short: ``0 to 33 and 255``."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return " and ".join(str(start) if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=True))
