"""A user's own data: a folder of images and a folder of masks a split."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.datasets import SPLITS, DatasetError, DatasetInfo, FileSplit, palette_of, require_folder, unknown_split

_LAYOUT = "classes.txt, train/images, train/labels, val/images and val/labels"


@dataclass(frozen=True)
class Folder:
    """``<root>/<split>/images`` and ``<root>/<split>/labels`` with equal file stems, and ``<root>/classes.txt``.

    Label maps are 8-bit PNGs of class ids; ``classes.txt`` has one class name a line, in order of the ids. A search uses
    the splits ``search_train`` and ``search_val`` where they exist, else ``train`` and ``val``.

    Attributes:
        root: the folder.
        ignore_label: value of pixels that do not count.
    """

    root: str
    ignore_label: int = 255

    @cached_property
    def info(self) -> DatasetInfo:
        path = require_folder(self.root, "folder", _LAYOUT) / "classes.txt"
        try:
            names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}: cannot be read ({error}); it lists one class name a line.") from error
        return DatasetInfo("folder", names, palette_of(len(names)), self.ignore_label)

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``."""
        if name not in SPLITS:
            raise unknown_split("folder", name)
        root = require_folder(self.root, "folder", _LAYOUT)
        if not (root / name).is_dir():
            name = name.removeprefix("search_")
        images = _by_stem(root / name / "images")
        labels = _by_stem(root / name / "labels")
        unmatched = sorted(images.keys() ^ labels.keys())
        if unmatched:
            raise DatasetError(
                f"{root / name}: {len(unmatched)} file stems are in only one of images/ and labels/, "
                f"the first is {unmatched[0]!r}."
            )
        pairs = tuple((str(images[stem].relative_to(root)), str(labels[stem].relative_to(root))) for stem in sorted(images))
        return FileSplit(self.info, root, pairs)


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; folder expects {_LAYOUT}.")
    by_stem: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg") and by_stem.setdefault(path.stem, path) != path:
            raise DatasetError(f"{folder}: {by_stem[path.stem].name} and {path.name} have the same stem; keep one.")
    return by_stem
