"""The contract of every data set: what a sample is, what is known of its classes, how its splits are reached."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from data.digests import FileDigests
from data.system.errors import UserError

UInt8Array = npt.NDArray[np.uint8]


class DatasetError(UserError):
    """A data set that is missing, incomplete or damaged: the message names the file or folder.

    Attributes:
        kind: what is wrong, in two words: many of one kind have one cause.
    """

    kind = "not as expected"

    def __str__(self) -> str:
        return printable(str(self.args[0]))


def printable(text: str) -> str:
    """``text`` without what file names may hold and no output takes: bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class UnreadableError(DatasetError):
    """A file that is missing, truncated, or no image."""

    kind = "unreadable file"


class SizeMismatchError(DatasetError):
    """Labels of another size than their image."""

    kind = "size mismatch"


class LabelFormatError(DatasetError):
    """A label map that does not hold class ids: RGB, 16 bits, JPEG."""

    kind = "label format"


class LabelRangeError(DatasetError):
    """A label map with values or colours that are neither a class nor the ignore label.

    Attributes:
        counts: pixels of each wrong value; a colour is its text.
    """

    kind = "label out of range"

    def __init__(self, message: str, counts: Mapping[Any, int]) -> None:
        super().__init__(message, counts)  # all arguments, so that it can come from another process
        self.counts = counts


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a data set's classes.

    Attributes:
        class_names: one name per class; a label's value is its index here.
        palette: one (red, green, blue) a class, 0 to 255, for pictures.
        ignore_label: the value of pixels that count neither in the loss nor in the score.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int = 255

    def __post_init__(self) -> None:
        if not 2 <= len(self.class_names) <= 255:
            raise DatasetError(f"dataset.classes: a data set has 2 to 255 classes, got {len(self.class_names)}.")
        if len(self.palette) != len(self.class_names):
            raise DatasetError(
                f"DatasetInfo: one colour per class is needed, got {len(self.palette)} for {len(self.class_names)} classes."
            )
        if not len(self.class_names) <= self.ignore_label <= 255:
            raise DatasetError(
                f"dataset.ignore_label must be from {len(self.class_names)} to 255, got {self.ignore_label}. Where files have "
                f"a smaller value for it, dataset=folder takes dataset.label_map={{0:ignore,1:{self.class_names[0]},...}}."
            )

    @property
    def num_classes(self) -> int:
        """Classes that are scored; the ignore label is not one."""
        return len(self.class_names)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its labels.

    Attributes:
        name: unique within its split.
        image_HWC: RGB, uint8.
        labels_HW: class ids or the ignore label, uint8, of the image's size.
        orientation: how its file's EXIF says that it is to be turned; 1 for not at all.
    """

    name: str
    image_HWC: UInt8Array
    labels_HW: UInt8Array
    orientation: int = 1


class Split(Protocol):
    """The samples of one split, in an order that never changes.

    Attributes:
        warnings: what the data set's own lists or published counts say is missing, a line each.
        groups: of each sample, the sequence, city or scene whose images are alike; empty where nothing is known of that.
    """

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def groups(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, from 0.

        Raises:
            DatasetError: it cannot be read, or a label is neither a class nor the ignore label.
        """
        ...

    def extent_px(self) -> tuple[int, int]:
        """The least height and width that every image fits into.

        Raises:
            DatasetError: an image cannot be read.
        """
        ...

    def image_digests(self, digests: FileDigests) -> Sequence[str]:
        """A digest of each image's content, in order.

        Raises:
            DatasetError: an image cannot be read.
        """
        ...

    def fingerprint(self, digests: FileDigests) -> str:
        """A digest of the content: the same for the same samples wherever they lie.

        Raises:
            DatasetError: a file cannot be read.
        """
        ...


@runtime_checkable
class SegmentationDataset(Protocol):
    """A data set with four splits, and maybe more.

    ``train`` and ``val`` are the official ones, for full training and its final check. A search trains on
    ``search_train`` and compares on ``search_val``; a data set without a reason to do otherwise gives the official ones.
    Further ones, such as ``test``, may have no labels: there every pixel is ignored.

    Attributes:
        info: its classes.
        folds: a search holds out so many parts of ``train`` in turn, instead of its two splits; None where it does not.
    """

    @property
    def info(self) -> DatasetInfo: ...

    @property
    def folds(self) -> int | None: ...

    def split(self, name: str) -> Split:
        """The split called ``name``: one of ``SPLITS``, or a further one that the data set knows.

        Raises:
            DatasetError: it is missing or empty.
        """
        ...


def search_splits(dataset: SegmentationDataset) -> tuple[str, ...]:
    """What a search reads."""
    return ("search_train", "search_val") if dataset.folds is None else ("train",)


SPLITS = ("train", "val", "search_train", "search_val")


def unknown_split(dataset: str, name: str, accepted: Iterable[str] = SPLITS) -> DatasetError:
    """The error for a split that a data set does not have."""
    return DatasetError(f"{dataset}: no split {name!r}; accepted are {', '.join(accepted)}.")


def check_split(dataset: SegmentationDataset, setting: str, name: str) -> None:
    """See that ``dataset`` has the split that a setting names.

    Raises:
        DatasetError: it has none of that name, or one that is missing or empty.
    """
    try:
        dataset.split(name)
    except DatasetError as error:
        raise DatasetError(f"{setting}: {error}") from error


def palette_of(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """PASCAL VOC's colour map: bits of the class id spread over red, green and blue from the highest bit down."""

    def channel(index: int, offset: int) -> int:
        return sum(((index >> (3 * bit + offset)) & 1) << (7 - bit) for bit in range(8))

    return tuple((channel(index, 0), channel(index, 1), channel(index, 2)) for index in range(num_classes))


def colorize(labels_HW: UInt8Array, palette: Sequence[tuple[int, int, int]]) -> UInt8Array:
    """Labels as an RGB picture (H, W, 3); values outside the palette are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[labels_HW]
