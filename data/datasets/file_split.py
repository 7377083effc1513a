"""A split whose samples are files: pairs of image and label map, read without trust in what they hold."""

import hashlib
import stat
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from data.datasets.contract import (
    DatasetError,
    DatasetInfo,
    LabelFormatError,
    LabelRangeError,
    Sample,
    SizeMismatchError,
    UInt8Array,
    UnreadableError,
)
from data.digests import FileDigests

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
"""Of images. Pillow would also open formats that run other programs (EPS)."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
"""Of image files."""
_EIGHT_BITS = ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "YCbCr")
"""Pillow's modes that become RGB without loss of depth."""
_READERS = 8

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # beyond 89 megapixels: refused, not only told

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FileSplit:
    """A split whose samples are pairs of files under one root.

    Attributes:
        pairs: (image, labels), each relative to ``root``; labels may be None, then every pixel is ignored.
        class_of: class ids of file values; None where files hold class ids. Other values are errors.
        read_labels: values of a label file (H, W); None reads images.
        warnings: what the data set's own lists or published counts say is missing.
        groups: of each pair, the sequence, city or scene whose images are alike; empty where nothing is known of that.
    """

    info: DatasetInfo
    root: Path
    pairs: tuple[tuple[str, str | None], ...]
    class_of: Mapping[int, int] | None = None
    read_labels: Callable[[Path], Array] | None = None
    warnings: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.pairs:
            raise DatasetError(f"{self.info.name}: no pair of image and labels under {self.root}.")
        for name in (name for pair in self.pairs for name in pair if name is not None):
            if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
                raise DatasetError(f"{self.info.name}: {name} leaves the data set's folder {self.root}.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image, labels = self.pairs[index]
        image_HWC = read_image(self.root / image)
        if labels is None:
            labels_HW = np.full(image_HWC.shape[:2], self.info.ignore_label, np.uint8)
        else:
            values_HW = (self.read_labels or read_label_image)(self.root / labels)
            if values_HW.shape != image_HWC.shape[:2]:
                raise SizeMismatchError(
                    f"{self.root / labels}: labels are {values_HW.shape[1]}x{values_HW.shape[0]} pixels, "
                    f"the image {image_HWC.shape[1]}x{image_HWC.shape[0]}."
                )
            labels_HW = self._classes(values_HW, self.root / labels)
        return Sample(Path(image).stem, image_HWC, labels_HW)

    def extent_px(self) -> tuple[int, int]:
        """The least height and width that every image fits into; only headers are read."""
        with ThreadPoolExecutor(_READERS) as readers:
            heights, widths = zip(*readers.map(_size_px, (self.root / image for image, _ in self.pairs)), strict=True)
        return max(heights), max(widths)

    def image_digests(self, digests: FileDigests) -> Sequence[str]:
        """Of each image's bytes."""
        return self._digests([image for image, _ in self.pairs], digests)

    def fingerprint(self, digests: FileDigests) -> str:
        """Digest of every file's name and bytes, and of what its values mean."""
        names = [name for pair in self.pairs for name in pair if name is not None]
        whole = hashlib.blake2b(digest_size=16)
        for name, digest in zip(names, self._digests(names, digests), strict=True):
            whole.update(f"{name}\0{digest}".encode())
        whole.update(self._table.tobytes())
        return whole.hexdigest()

    def _digests(self, names: Sequence[str], digests: FileDigests) -> Sequence[str]:
        try:
            return digests.of([_regular(self.root / name) for name in names])
        except OSError as error:
            raise UnreadableError(f"{error.filename}: cannot be read ({error.strerror}).") from error

    def _classes(self, values_HW: Array, path: Path) -> UInt8Array:
        wrong_HW = ~self._accepted[values_HW]
        if wrong_HW.any():
            found, counts = np.unique(values_HW[wrong_HW], return_counts=True)
            row, column = np.argwhere(wrong_HW)[0]
            raise LabelRangeError(
                f"{path}: label {values_HW[row, column]} at row {row}, column {column} is out of range; accepted are "
                f"{self._accepted_names()}.",
                dict(zip(found.tolist(), counts.tolist(), strict=True)),
            )
        return self._table[values_HW]

    def _accepted_names(self) -> str:
        if self.class_of is not None:
            return _ranges(sorted(self.class_of))
        return f"0 to {self.info.num_classes - 1} and {self.info.ignore_label} (ignore)"

    @cached_property
    def _meanings(self) -> Mapping[int, int]:
        if self.class_of is not None:
            return self.class_of
        return {value: value for value in (*range(self.info.num_classes), self.info.ignore_label)}

    @cached_property
    def _table(self) -> UInt8Array:
        table = np.full(256, self.info.ignore_label, np.uint8)
        table[list(self._meanings)] = list(self._meanings.values())
        return table

    @cached_property
    def _accepted(self) -> npt.NDArray[np.bool_]:
        accepted = np.zeros(256, np.bool_)
        accepted[list(self._meanings)] = True
        return accepted


def read_image(path: Path, upright: bool = False) -> UInt8Array:
    """An image file as RGB (H, W, 3); transparency is left out.

    Args:
        upright: turn it as its EXIF orientation says. Label maps have none, so a data set's images stay as they are.

    Raises:
        UnreadableError: it is none, or not of 8 bits a channel.
    """
    with _opened(path) as image:
        if image.mode not in _EIGHT_BITS:
            raise UnreadableError(f"{path}: cannot be read as an image of 8 bits a channel (its mode is {image.mode}).")
        return _decoded(image, path, "RGB", upright)


def read_label_image(path: Path) -> UInt8Array:
    """A label map's values (H, W): grey levels, or indices into a palette.

    Raises:
        UnreadableError: it is no image.
        LabelFormatError: it is an image whose values are no class ids.
    """
    with _opened(path) as image:
        labels = _decoded(image, path)
        if image.format == "JPEG":
            raise LabelFormatError(f"{path}: labels must be PNG; JPEG blurs class ids.")
        if labels.ndim != 2 or labels.dtype.itemsize != 1:
            raise LabelFormatError(
                f"{path}: labels must be one channel of 8-bit class ids, got shape {labels.shape} of {labels.dtype}."
            )
        return labels.astype(np.uint8, copy=False)


def read_list(path: Path, columns: int, expected: str) -> list[tuple[str, ...]]:
    """The lines of a list file, in fields; empty lines do not count.

    Args:
        expected: what a line holds, for the error.

    Raises:
        DatasetError: it cannot be read, is empty, or a line has another number of fields.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read ({error}); each of its lines is {expected!r}.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if fields := tuple(line.split()):
            if len(fields) != columns:
                raise DatasetError(f"{path}, line {number}: expected {expected!r}, got {line.strip()!r}.")
            rows.append(fields)
    if not rows:
        raise DatasetError(f"{path}: holds no line {expected!r}.")
    return rows


def require_folder(root: str | Path, dataset: str, expected: str) -> Path:
    """``root`` as a path.

    Raises:
        DatasetError: it is no folder; ``expected`` says what the data set looks for in it.
    """
    path = Path(root)
    if not path.is_dir():
        raise DatasetError(f"dataset.root: {path} is not a folder; {dataset} expects {expected} there.")
    return path


def count_warning(split: str, found: int, published: int, where: str) -> Iterable[str]:
    """A line if a split has another size than was published."""
    if found != published:
        yield f"{split}: {found:,} samples, published are {published:,} ({where})."


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(_regular(path), formats=FORMATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _unreadable(path, error) from error


def _decoded(image: Image.Image, path: Path, mode: str | None = None, upright: bool = False) -> UInt8Array:
    try:
        image = ImageOps.exif_transpose(image) if upright else image
        return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def _size_px(path: Path) -> tuple[int, int]:
    with _opened(path) as image:
        return image.height, image.width


def _unreadable(path: Path, error: Exception) -> UnreadableError:
    if isinstance(error, UnidentifiedImageError):
        reason = f"it is none of {', '.join(FORMATS)}"
    else:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UnreadableError(f"{path}: cannot be read as an image ({reason}).")


def _regular(path: Path) -> Path:
    """``path`` if it is a file: a pipe would be waited for without end.

    Raises:
        OSError: it is missing, or something else.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "not a regular file", str(path))
    return path


def _ranges(values: Sequence[int]) -> str:
    """``0 to 33 and 255``."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return " and ".join(str(start) if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=True))
