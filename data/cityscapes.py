"""Cityscapes as downloaded: leftImg8bit/ and gtFine/, 19 classes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.datasets import DatasetError, DatasetInfo, FileSplit, UInt8Array, require_folder, unknown_split

INFO = DatasetInfo(
    name="cityscapes",
    class_names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
)
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""``labelIds`` of the 19 classes in order of their train ids (cityscapesScripts, helpers/labels.py)."""


@dataclass(frozen=True)
class Cityscapes:
    """Fine annotations; ``*_labelTrainIds.png`` where present, else ``*_labelIds.png`` mapped to the 19 train ids.

    A search trains and validates on the official train and val, as in the paper.

    Attributes:
        root: folder of ``leftImg8bit/`` and ``gtFine/``.
    """

    root: str

    info = INFO

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``."""
        official = {"train": "train", "val": "val", "search_train": "train", "search_val": "val"}.get(name)
        if official is None:
            raise unknown_split("cityscapes", name)
        root = require_folder(self.root, "cityscapes", "leftImg8bit/ and gtFine/")
        images = sorted((root / "leftImg8bit" / official).glob("*/*_leftImg8bit.png"))
        if not images:
            raise DatasetError(f"cityscapes: no *_leftImg8bit.png under {root / 'leftImg8bit' / official}.")
        suffix = "labelTrainIds" if self._labels_of(root, images[0], "labelTrainIds").exists() else "labelIds"
        pairs = tuple(
            (str(image.relative_to(root)), str(self._labels_of(root, image, suffix).relative_to(root))) for image in images
        )
        return FileSplit(self.info, root, pairs, None if suffix == "labelTrainIds" else _train_ids())

    @staticmethod
    def _labels_of(root: Path, image: Path, suffix: str) -> Path:
        stem = image.name.removesuffix("_leftImg8bit.png")
        return root / "gtFine" / image.parent.parent.name / image.parent.name / f"{stem}_gtFine_{suffix}.png"


def _train_ids() -> UInt8Array:
    table = np.full(256, INFO.ignore_label, np.uint8)
    table[list(_LABEL_IDS)] = np.arange(len(_LABEL_IDS), dtype=np.uint8)
    return table
