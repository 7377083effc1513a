"""A split whose samples are files: pairs of image and label map under one root."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from data.datasets.contract import DatasetError, DatasetInfo, Sample, SizeMismatchError, UnreadableError, printable
from data.datasets.image_files import AS_STORED, ImageReading, read_image, regular_file, size_px
from data.datasets.labelling import Labelling, class_ids
from data.digests import FileDigests

_READERS = 8


@dataclass(frozen=True)
class FileSplit:
    """A split whose samples are pairs of files under one root.

    Attributes:
        pairs: (image, labels), each relative to ``root``; labels may be None, then every pixel is ignored.
        labelling: how label files become classes; None where they hold class ids.
        reading: of the images.
        warnings: what the data set's own lists or published counts say is missing, and what is left out.
        groups: of each pair, the sequence, city or scene whose images are alike; empty where nothing is known of that.
    """

    info: DatasetInfo
    root: Path
    pairs: tuple[tuple[str, str | None], ...]
    labelling: Labelling | None = None
    reading: ImageReading = AS_STORED
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
        image_HWC, orientation = read_image(self.root / image, self.reading)
        if labels is None:
            labels_HW = np.full(image_HWC.shape[:2], self.info.ignore_label, np.uint8)
        else:
            path = self.root / labels
            stored = self._labelling.read(path, self.reading.upright)
            if stored.shape[:2] != image_HWC.shape[:2]:
                raise SizeMismatchError(
                    f"{path}: labels are {stored.shape[1]}x{stored.shape[0]} pixels, "
                    f"the image {image_HWC.shape[1]}x{image_HWC.shape[0]}{self._cause(orientation)}."
                )
            labels_HW = self._labelling.classes(stored, path)
        return Sample(self._names[index], image_HWC, labels_HW, 1 if self.reading.upright else orientation)

    def extent_px(self) -> tuple[int, int]:
        """The least height and width that every image fits into; only headers are read."""
        with ThreadPoolExecutor(_READERS) as readers:
            sizes = readers.map(lambda pair: size_px(self.root / pair[0], self.reading), self.pairs)
            heights, widths = zip(*sizes, strict=True)
        return max(heights), max(widths)

    def image_digests(self, digests: FileDigests) -> Sequence[str]:
        """Of each image's bytes."""
        return self._digests([image for image, _ in self.pairs], digests)

    def fingerprint(self, digests: FileDigests) -> str:
        """Digest of every file's name and bytes, and of what its values mean."""
        names = [name for pair in self.pairs for name in pair if name is not None]
        whole = hashlib.blake2b(digest_size=16)
        for name, digest in zip(names, self._digests(names, digests), strict=True):
            whole.update(f"{name}\0{digest}".encode("utf-8", "surrogateescape"))
        whole.update(self._labelling.meaning)
        if self.reading != AS_STORED:
            whole.update(repr(self.reading).encode())
        return whole.hexdigest()

    def _digests(self, names: Sequence[str], digests: FileDigests) -> Sequence[str]:
        try:
            return digests.of([regular_file(self.root / name) for name in names])
        except OSError as error:
            raise UnreadableError(f"{error.filename}: cannot be read ({error.strerror}).") from error

    def _cause(self, orientation: int) -> str:
        """Why labels may have another size than their image."""
        if orientation == 1:
            return ""
        asked = str(not self.reading.upright).lower()
        how = "as it is stored" if self.reading.upright else "turned as its EXIF says"
        return f"; was it labelled {how}? dataset=folder reads it so with dataset.upright={asked}"

    @cached_property
    def _labelling(self) -> Labelling:
        return self.labelling or class_ids(self.info)

    @cached_property
    def _names(self) -> Sequence[str]:
        """The files' stems; where two are equal, with the folders that not all share."""
        paths = [Path(image).with_suffix("") for image, _ in self.pairs]
        if max(Counter(path.name for path in paths).values()) == 1:
            return [printable(path.name) for path in paths]
        shared = os.path.commonpath([path.parent for path in paths])
        return [printable(path.relative_to(shared).as_posix()) for path in paths]


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
        yield f"{split}: {found:,} samples; {published:,} were published ({where})."
