"""CamVid in SegNet's preparation: 480x360 road scenes, 11 classes, void 11."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.datasets.contract import SPLITS, DatasetError, DatasetInfo, unknown_split
from data.datasets.file_split import FileSplit, count_warning, require_folder
from data.datasets.lists import read_list
from data.folds import check_folds
from data.system.paths import FolderText

INFO = DatasetInfo(
    name="camvid",
    class_names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    ignore_label=11,
)


PUBLISHED = {"train": 367, "val": 101, "test": 233}
_SEGNET_FOLDER = "/SegNet/CamVid/"
"""Where SegNet's own lists say that the data lies."""


@dataclass(frozen=True)
class CamVid:
    """CamVid as SegNet ships it: ``train.txt``, ``val.txt`` and ``test.txt`` list pairs of image and label map.

    The official val is one continuous stretch of a sequence that train also holds, so a search must not be steered by it:
    ``search_val`` is one whole sequence of train, ``search_train`` the others, and ``val`` stays for the final check.

    Attributes:
        root: folder of the lists; paths in them are relative to it.
        holdout_sequence: the sequence of train that a search is validated on.
        folds: hold out every sequence of train in turn instead, in so many parts.
    """

    root: FolderText
    holdout_sequence: str = "0006R0"
    folds: int | None = None

    info = INFO

    def __post_init__(self) -> None:
        check_folds(self.folds)

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``, ``test``."""
        match name:
            case "train" | "val" | "test":
                pairs = self._pairs(name)
                return self._files(pairs, tuple(count_warning(name, len(pairs), PUBLISHED[name], f"{name}.txt")))
            case "search_train":
                return self._files([pair for pair in self._pairs("train") if not self._is_held_out(pair)])
            case "search_val":
                return self._files([pair for pair in self._pairs("train") if self._is_held_out(pair)])
        raise unknown_split("camvid", name, (*SPLITS, "test"))

    def _pairs(self, name: str) -> list[tuple[str, str]]:
        root = require_folder(self.root, "camvid", "train.txt and val.txt")
        rows = read_list(root / f"{name}.txt", 2, "image labels")
        return [(image.removeprefix(_SEGNET_FOLDER), labels.removeprefix(_SEGNET_FOLDER)) for image, labels in rows]

    def _files(self, pairs: Sequence[tuple[str, str]], warnings: Sequence[str] = ()) -> FileSplit:
        if not pairs:
            raise DatasetError(f"camvid: sequence {self.holdout_sequence!r} (dataset.holdout_sequence) leaves a split empty.")
        return FileSplit(self.info, Path(self.root), tuple(pairs), warnings=warnings, groups=[*map(_sequence, pairs)])

    def _is_held_out(self, pair: tuple[str, str]) -> bool:
        return _sequence(pair) == self.holdout_sequence


def _sequence(pair: tuple[str, str]) -> str:
    return pair[0].rsplit("/", 1)[-1].rpartition("_")[0]
