"""A user's own data: pairs of image and mask, in folders or in lists."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.datasets.contract import SPLITS, DatasetError, DatasetInfo, UnreadableError, palette_of, unknown_split
from data.datasets.file_split import SUFFIXES, FileSplit, read_list, require_folder

_LAYOUT = "classes.txt, train/images, train/labels, val/images and val/labels (or lists train.txt and val.txt)"


@dataclass(frozen=True)
class Folder:
    """``<root>/<split>/images`` and ``<root>/<split>/labels`` with equal file stems, or ``<root>/<split>.txt``.

    A list has a line ``image labels`` for each pair, relative to the root. Label maps are 8-bit PNGs of class ids. A search
    uses the splits ``search_train`` and ``search_val`` where they exist, else ``train`` and ``val``; other names of splits
    are those of the user's folders and lists.

    Attributes:
        root: the folder.
        classes: names in order of the ids; None reads them from ``<root>/classes.txt``, one a line.
        ignore_label: value of pixels that do not count.
        folds: validate a search on parts of train in turn, so many, instead of on ``search_val``.
        group: a regular expression; images for whose file stem its first part in brackets is the same belong together, such as
            the frames of a sequence, and no fold parts them. None: each image is on its own.
    """

    root: str
    classes: Sequence[str] | None = None
    ignore_label: int = 255
    folds: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.group is None:
            return
        try:
            has_part = re.compile(self.group).groups > 0
        except re.error as error:
            raise ValueError(f"dataset.group: {self.group!r} is no regular expression ({error}).") from error
        if not has_part:
            raise ValueError(f"dataset.group: {self.group!r} has no part in brackets, such as '(.+)_[0-9]+'.")

    @cached_property
    def info(self) -> DatasetInfo:
        names = tuple(self.classes) if self.classes is not None else self._listed_classes()
        return DatasetInfo("folder", names, palette_of(len(names)), self.ignore_label)

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``, or one that the user has made."""
        root = require_folder(self.root, "folder", _LAYOUT)
        if not self._has(name) and name in SPLITS:
            name = name.removeprefix("search_")
        elif not self._has(name):
            raise unknown_split("folder", name)
        list_file = root / f"{name}.txt"
        pairs = read_list(list_file, 2, "image labels") if list_file.exists() else _pairs_in(root, name)
        groups = [self._group(Path(image).stem) for image, _ in pairs] if self.group and name == "train" else ()
        return FileSplit(self.info, root, tuple((image, labels) for image, labels in pairs), groups=groups)

    def _group(self, stem: str) -> str:
        found = re.match(self.group or "", stem)
        if not found:
            raise DatasetError(f"dataset.group: {self.group!r} does not match the image {stem!r}.")
        return found[1] or ""

    def _has(self, name: str) -> bool:
        return (Path(self.root) / f"{name}.txt").exists() or (Path(self.root) / name / "images").is_dir()

    def _listed_classes(self) -> tuple[str, ...]:
        path = require_folder(self.root, "folder", _LAYOUT) / "classes.txt"
        try:
            return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"{path}: cannot be read ({error}); it lists one class name a line; or give dataset.classes=[...]."
            ) from error


def _pairs_in(root: Path, name: str) -> list[tuple[str, str]]:
    images = _by_stem(root / name / "images")
    labels = _by_stem(root / name / "labels")
    unmatched = sorted(images.keys() ^ labels.keys())
    if unmatched:
        raise DatasetError(
            f"{root / name}: {len(unmatched)} file stems are in only one of images/ and labels/, the first is {unmatched[0]!r}."
        )
    return [(str(images[stem].relative_to(root)), str(labels[stem].relative_to(root))) for stem in sorted(images)]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; folder expects {_LAYOUT}.")
    by_stem: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and by_stem.setdefault(path.stem, path) != path:
            raise DatasetError(f"{folder}: {by_stem[path.stem].name} and {path.name} have the same stem; keep one.")
    return by_stem
