"""Cityscapes as downloaded: leftImg8bit/ and gtFine/, 19 classes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data.datasets.contract import SPLITS, DatasetError, DatasetInfo, unknown_split
from data.datasets.file_split import FileSplit, count_warning, require_folder
from data.datasets.image_files import is_hidden
from data.datasets.label_files import read_label_image
from data.datasets.labelling import class_ids, mapped_values
from data.folds import check_folds
from data.system.errors import UserError
from data.system.paths import FolderText

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
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""``labelIds`` of the 19 classes in order of their train ids (cityscapesScripts, helpers/labels.py)."""
TRAIN_IDS = dict.fromkeys((*range(34), 255), INFO.ignore_label) | {
    label_id: train_id for train_id, label_id in enumerate(LABEL_IDS)
}
"""The train id of every official id; 255 is how 8 bits hold the -1 of licence plates."""
PUBLISHED = {
    "train": {
        "aachen": 174,
        "bochum": 96,
        "bremen": 316,
        "cologne": 154,
        "darmstadt": 85,
        "dusseldorf": 221,
        "erfurt": 109,
        "hamburg": 248,
        "hanover": 196,
        "jena": 119,
        "krefeld": 99,
        "monchengladbach": 94,
        "strasbourg": 365,
        "stuttgart": 196,
        "tubingen": 144,
        "ulm": 95,
        "weimar": 142,
        "zurich": 122,
    },
    "val": {"frankfurt": 267, "lindau": 59, "munster": 174},
    "test": {"berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398},
}
"""Images of each city: 2,975, 500 and 1,525 in all."""
NUM_TRAIN_EXTRA = 19_998


@dataclass(frozen=True)
class Cityscapes:
    """Fine annotations; ``*_labelTrainIds.png`` where present, else ``*_labelIds.png`` mapped to the 19 train ids.

    A search trains and validates on the official train and val, as in the paper. ``test`` has no labels; ``train_extra`` has
    the coarse ones of ``gtCoarse/``.

    Attributes:
        root: folder of ``leftImg8bit/`` and ``gtFine/``.
        coarse: add the images of train_extra to ``train``.
        folds: validate a search on cities of train in turn, in so many parts, instead of on val.
    """

    root: FolderText
    coarse: bool = False
    folds: int | None = None

    info = INFO

    def __post_init__(self) -> None:
        check_folds(self.folds)
        if self.coarse and self.folds is not None:
            raise UserError(
                "dataset.coarse: with dataset.folds a search would be scored on coarse labels; leave one of them out."
            )

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``, ``test``, ``train_extra``."""
        match name:
            case "train" if self.coarse:
                return self._files("train", "train_extra")
            case "train" | "val" | "test" | "train_extra":
                return self._files(name)
            case "search_train" | "search_val":
                return self._files(name.removeprefix("search_"))
        raise unknown_split("cityscapes", name, (*SPLITS, "test", "train_extra"))

    def _files(self, *folders: str) -> FileSplit:
        root = require_folder(self.root, "cityscapes", "leftImg8bit/ and gtFine/")
        images = {folder: _images_in(root / "leftImg8bit" / folder) for folder in folders}
        for folder, found in images.items():
            if not found:
                raise DatasetError(f"cityscapes: no *_leftImg8bit.png under {root / 'leftImg8bit' / folder}.")
        has_train_ids = self._labels_of(root, images[folders[0]][0], "labelTrainIds").exists()
        suffix = "labelTrainIds" if has_train_ids else "labelIds"
        pairs = [
            (image, None if folder == "test" else self._labels_of(root, image, suffix))
            for folder, found in images.items()
            for image in found
        ]
        if not has_train_ids:
            _refuse_train_ids([labels for _, labels in pairs if labels])
        return FileSplit(
            self.info,
            root,
            tuple((str(image.relative_to(root)), str(labels.relative_to(root)) if labels else None) for image, labels in pairs),
            labelling=class_ids(self.info) if has_train_ids else mapped_values(TRAIN_IDS, self.info),
            warnings=tuple(line for folder, found in images.items() for line in _warnings(folder, found)),
            groups=[image.parent.name for image, _ in pairs],
        )

    @staticmethod
    def _labels_of(root: Path, image: Path, suffix: str) -> Path:
        annotation = "gtCoarse" if image.parent.parent.name == "train_extra" else "gtFine"
        stem = image.name.removesuffix("_leftImg8bit.png")
        return root / annotation / image.parent.parent.name / image.parent.name / f"{stem}_{annotation}_{suffix}.png"


def _images_in(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*/*_leftImg8bit.png"))
    return [path for path in found if not any(map(is_hidden, path.relative_to(folder).parts))]


def _refuse_train_ids(labels: Sequence[Path]) -> None:
    """Refuse files called labelIds without one of the ids that only these have, vegetation, sky and car among them.

    Taken for ids, train ids become other classes and mostly none: a search would run on what is left.
    """
    largest = []
    for path in {labels[0], labels[len(labels) // 2], labels[-1]} if labels else ():
        with suppress(DatasetError):  # told when it is read as a sample
            values_HW = read_label_image(path)
            largest += [int(values_HW[values_HW < 255].max())] if (values_HW < 255).any() else []
    if largest and max(largest) < INFO.num_classes:
        raise DatasetError(
            f"cityscapes: {labels[0]} and others hold no id above {max(largest)}: these are train ids, whose files are called "
            "*_labelTrainIds.png."
        )


def _warnings(folder: str, images: Sequence[Path]) -> Iterator[str]:
    found = Counter(image.parent.name for image in images)
    if folder == "train_extra":
        yield from count_warning(folder, len(images), NUM_TRAIN_EXTRA, f"{len(found)} cities are here")
        return
    published = PUBLISHED[folder]
    cities = [f"{city}: {found[city]} of {count}" for city, count in published.items() if found[city] != count]
    cities += [f"{city}: unknown" for city in found if city not in published]
    yield from count_warning(folder, len(images), sum(published.values()), ", ".join(cities))
