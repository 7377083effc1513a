"""PASCAL as downloaded: VOC 2012 with SBD's additional annotations (21 classes), and Person-Part (7 classes)."""

from dataclasses import dataclass
from pathlib import Path

from data.datasets.contract import SPLITS, DatasetError, DatasetInfo, palette_of, unknown_split
from data.datasets.file_split import FileSplit, count_warning, require_folder
from data.datasets.labelling import class_ids
from data.datasets.lists import read_list
from data.datasets.matlab import read_voc_labels
from data.folds import check_folds
from data.system.paths import FolderText

VOC = DatasetInfo(
    name="voc2012",
    class_names=(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "dining table",
        "dog",
        "horse",
        "motorbike",
        "person",
        "potted plant",
        "sheep",
        "sofa",
        "train",
        "tv monitor",
    ),
    palette=palette_of(21),
)
PERSON_PART = DatasetInfo(
    name="person_part",
    class_names=("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs"),
    palette=palette_of(7),
)
PUBLISHED_VOC = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456, "train_aug": 10_582}
PUBLISHED_PERSON_PART = {"train": 1716, "val": 1817}


@dataclass(frozen=True)
class Voc2012:
    """VOC 2012's segmentation task; ``train`` is DeepLab's train_aug where SBD is there too.

    train_aug are VOC's train and all of SBD that is not in VOC's val. VOC's own label maps are taken where both have one.

    Attributes:
        root: folder of ``VOCdevkit/VOC2012/`` and ``benchmark_RELEASE/`` (SBD), as the archives unpack.
        augmented: train on train_aug, as the paper does; False: on VOC's train alone.
        folds: validate a search on parts of train in turn, so many, instead of on val.
    """

    root: FolderText
    augmented: bool = True
    folds: int | None = None

    info = VOC

    def __post_init__(self) -> None:
        check_folds(self.folds)

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``, ``trainval``, ``test``."""
        match name.removeprefix("search_"):
            case "train" if self.augmented:
                return self._train_aug()
            case "train" | "val":
                return self._official(name.removeprefix("search_"))
            case "trainval" | "test" if name in PUBLISHED_VOC:
                return self._official(name)
        raise unknown_split("voc2012", name, (*SPLITS, "trainval", "test"))

    def _official(self, name: str) -> FileSplit:
        return self._files(name, {stem: None if name == "test" else self._voc_labels(stem) for stem in self._stems(name)})

    def _train_aug(self) -> FileSplit:
        sbd = self._folder / "benchmark_RELEASE" / "dataset"
        if not sbd.is_dir():
            raise DatasetError(
                f"dataset.root: no {sbd}; unpack SBD's benchmark.tgz there, or train on VOC's 1,464 images with "
                "dataset.augmented=false."
            )
        held_out = set(self._stems("val"))
        additional = [fields[0] for part in ("train", "val") for fields in read_list(sbd / f"{part}.txt", 1, "image")]
        labels = {
            stem: str((sbd / "cls" / f"{stem}.mat").relative_to(self._folder)) for stem in additional if stem not in held_out
        }
        return self._files("train_aug", labels | {stem: self._voc_labels(stem) for stem in self._stems("train")})

    def _files(self, name: str, labels: dict[str, str | None] | dict[str, str]) -> FileSplit:
        return FileSplit(
            self.info,
            self._folder,
            tuple((f"{self._devkit}/JPEGImages/{stem}.jpg", labels[stem]) for stem in sorted(labels)),
            labelling=class_ids(self.info, read_voc_labels),
            warnings=tuple(count_warning(name, len(labels), PUBLISHED_VOC[name], "its list")),
        )

    def _stems(self, name: str) -> list[str]:
        path = self._folder / self._devkit / "ImageSets" / "Segmentation" / f"{name}.txt"
        return [fields[0] for fields in read_list(path, 1, "image")]

    def _voc_labels(self, stem: str) -> str:
        return f"{self._devkit}/SegmentationClass/{stem}.png"

    @property
    def _devkit(self) -> str:
        return "VOCdevkit/VOC2012"

    @property
    def _folder(self) -> Path:
        return require_folder(self.root, "voc2012", "VOCdevkit/VOC2012/ and benchmark_RELEASE/")


@dataclass(frozen=True)
class PersonPart:
    """PASCAL-Person-Part: six parts of a person, in the version of Chen et al. that DeepLab is scored on.

    Attributes:
        root: folder of ``pascal_person_part/`` and of ``VOCdevkit/`` with VOC 2010's or VOC 2012's images.
        folds: validate a search on parts of train in turn, so many, instead of on val.
    """

    root: FolderText
    folds: int | None = None

    info = PERSON_PART

    def __post_init__(self) -> None:
        check_folds(self.folds)

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``."""
        if name not in SPLITS:
            raise unknown_split("person_part", name)
        name = name.removeprefix("search_")
        root = require_folder(self.root, "person_part", "pascal_person_part/ and VOCdevkit/")
        years = [year for year in ("VOC2010", "VOC2012") if (root / "VOCdevkit" / year / "JPEGImages").is_dir()]
        if not years:
            raise DatasetError(f"dataset.root: no VOCdevkit/VOC2010/JPEGImages nor VOC2012's under {root}.")
        lists = root / "pascal_person_part" / "pascal_person_part_trainval_list"
        file = next(
            (file for file in (lists / f"{name}_id.txt", lists / f"{name}.txt") if file.exists()), lists / f"{name}.txt"
        )
        stems = sorted(fields[0] for fields in read_list(file, 1, "image"))
        return FileSplit(
            self.info,
            root,
            tuple(
                (f"VOCdevkit/{years[0]}/JPEGImages/{stem}.jpg", f"pascal_person_part/pascal_person_part_gt/{stem}.png")
                for stem in stems
            ),
            warnings=tuple(count_warning(name, len(stems), PUBLISHED_PERSON_PART[name], file.name)),
        )
