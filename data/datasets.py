"""The contract of every data set: what a sample is, what is known of its classes, how its splits are reached."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]


class DatasetError(ValueError):
    """A data set that is missing, incomplete or damaged: the message names the file or folder."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a data set's classes.

    Attributes:
        class_names: one name a class; a label's value is its index here.
        palette: one (red, green, blue) a class, 0 to 255, for pictures.
        ignore_label: the value of pixels that count neither in the loss nor in the score.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int = 255

    def __post_init__(self) -> None:
        if not 2 <= len(self.class_names) <= 255:
            raise ValueError(f"DatasetInfo: a data set has 2 to 255 classes, got {len(self.class_names)}.")
        if len(self.palette) != len(self.class_names):
            raise ValueError(
                f"DatasetInfo: one colour a class is needed, got {len(self.palette)} for {len(self.class_names)} classes."
            )
        if not len(self.class_names) <= self.ignore_label <= 255:
            raise ValueError(f"DatasetInfo: ignore_label must be from {len(self.class_names)} to 255, got {self.ignore_label}.")

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
    """

    name: str
    image_HWC: UInt8Array
    labels_HW: UInt8Array


class Split(Protocol):
    """The samples of one split, in an order that never changes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, from 0.

        Raises:
            DatasetError: it cannot be read, or a label is neither a class nor the ignore label.
        """
        ...

    def fingerprint(self) -> str:
        """A digest of the content: the same for the same samples wherever they lie."""
        ...


@runtime_checkable
class SegmentationDataset(Protocol):
    """A data set with four splits.

    ``train`` and ``val`` are the official ones, for full training and its final check. A search trains on
    ``search_train`` and compares on ``search_val``; a data set without a reason to do otherwise gives the official ones.
    """

    info: DatasetInfo

    def split(self, name: str) -> Split:
        """The split called ``name``: ``train``, ``val``, ``search_train`` or ``search_val``.

        Raises:
            DatasetError: it is missing or empty.
        """
        ...


SPLITS = ("train", "val", "search_train", "search_val")


@dataclass(frozen=True)
class FileSplit:
    """A split whose samples are pairs of files under one root.

    Attributes:
        pairs: (image, labels), each relative to ``root``.
        label_map: 256 values that file values are mapped through, or None where files hold class ids.
    """

    info: DatasetInfo
    root: Path
    pairs: tuple[tuple[str, str], ...]
    label_map: UInt8Array | None = None

    def __post_init__(self) -> None:
        if not self.pairs:
            raise DatasetError(f"{self.info.name}: no pair of image and labels under {self.root}.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image_name, labels_name = self.pairs[index]
        image_HWC = _read(self.root / image_name, "RGB")
        labels_HW = _read(self.root / labels_name, None)
        if labels_HW.ndim != 2 or labels_HW.dtype.itemsize != 1:
            raise DatasetError(
                f"{self.root / labels_name}: labels must be one channel of 8-bit class ids, "
                f"got shape {labels_HW.shape} of {labels_HW.dtype}."
            )
        if labels_HW.shape != image_HWC.shape[:2]:
            raise DatasetError(
                f"{self.root / labels_name}: labels are {labels_HW.shape[1]}x{labels_HW.shape[0]} pixels, "
                f"the image {image_HWC.shape[1]}x{image_HWC.shape[0]}."
            )
        labels_HW = labels_HW.astype(np.uint8, copy=False)
        if self.label_map is not None:
            labels_HW = self.label_map[labels_HW]
        self._check_labels(labels_HW, self.root / labels_name)
        return Sample(Path(image_name).stem, image_HWC, labels_HW)

    def fingerprint(self) -> str:
        """Digest of every file's name and bytes, and of the label map."""
        digest = hashlib.blake2b(digest_size=16)
        for name in (name for pair in self.pairs for name in pair):
            digest.update(name.encode() + b"\0")
            try:
                with (self.root / name).open("rb") as file:
                    digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
            except OSError as error:
                raise DatasetError(f"{self.root / name}: cannot be read ({error.strerror}).") from error
        if self.label_map is not None:
            digest.update(self.label_map.tobytes())
        return digest.hexdigest()

    def _check_labels(self, labels_HW: UInt8Array, path: Path) -> None:
        wrong = (labels_HW >= self.info.num_classes) & (labels_HW != self.info.ignore_label)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DatasetError(
                f"{path}: label {labels_HW[row, column]} at row {row}, column {column} is out of range; accepted are "
                f"0 to {self.info.num_classes - 1} and {self.info.ignore_label} (ignore)."
            )


def require_folder(root: str | Path, dataset: str, expected: str) -> Path:
    """``root`` as a path.

    Raises:
        DatasetError: it is no folder; ``expected`` says what the data set looks for in it.
    """
    path = Path(root)
    if not path.is_dir():
        raise DatasetError(f"dataset.root: {path} is not a folder; {dataset} expects {expected} there.")
    return path


def unknown_split(dataset: str, name: str, accepted: Iterable[str] = SPLITS) -> DatasetError:
    """The error for a split that a data set does not have."""
    return DatasetError(f"{dataset}: no split {name!r}; accepted are {', '.join(accepted)}.")


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


def _read(path: Path, mode: str | None) -> npt.NDArray[Any]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot be read as an image ({error}).") from error
