"""A user's own data: pairs of image and mask, in folders or in lists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from data.datasets.contract import SPLITS, DatasetError, DatasetInfo, printable, unknown_split
from data.datasets.file_split import FileSplit, require_folder
from data.datasets.image_files import SUFFIXES, ImageReading, everything_below, is_hidden
from data.datasets.labelling import Colors, Labelling, class_ids, mapped_values
from data.datasets.lists import IGNORE, ClassList, read_class_list, read_list
from data.datasets.palette import Color, distinct_palette
from data.folds import check_folds, check_group, groups_by_name
from data.system.paths import FolderText

BACKGROUND = "background"
"""A class of this name is black, which pictures leave as it is."""
_LAYOUT = "classes.txt, train/images, train/labels, val/images and val/labels (or lists train.txt and val.txt)"


@dataclass(frozen=True)
class Folder:
    """``<root>/<split>/images`` and ``<root>/<split>/labels`` with equal file stems, or ``<root>/<split>.txt``.

    A list has a line ``image labels`` for each pair, relative to the root. Sub-folders of images/ and labels/ are alike. A
    search uses the splits ``search_train`` and ``search_val`` where they exist, else ``train`` and ``val``; other names of
    splits are those of the user's folders and lists.

    Attributes:
        root: the folder.
        classes: names in order of the ids; None reads them from ``<root>/classes.txt``, one per line, with or without a colour.
        ignore_label: value of pixels that do not count.
        label_map: the class (a name or an id) that each value in the label files stands for; ``ignore`` or None for values
            that do not count. None where files hold class ids.
        colors: the colour, or colours, that stand for each class by name in label files that hold colours; those of
            ``ignore`` do not count. None where classes.txt has them, or files hold values.
        upright: turn images, and label maps that have it, as their EXIF orientation says.
        value_range: the values of black and white in images of more than 8 bits per channel.
        folds: validate a search on parts of train in turn, so many, instead of on ``search_val``.
        group: a regular expression; images for whose file stem its first part in brackets is the same belong together, such as
            the frames of a sequence, and no fold parts them. One with a ``/`` is for paths, as they are below images/ or in
            the list, without suffix: ``([^/]+)/`` for a folder a scene. None: each image is on its own.

    Raises:
        ValueError: a setting is not of this form.
    """

    root: FolderText
    classes: Sequence[str] | None = None
    ignore_label: int = 255
    label_map: Mapping[int, str | int | None] | None = None
    colors: Mapping[str, Sequence[Any]] | None = None
    upright: bool = False
    value_range: Sequence[float] | None = None
    folds: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.label_map is not None and self.colors is not None:
            raise ValueError("dataset.label_map is for labels that are values, dataset.colors for colours: give one of them.")
        for value in self.label_map or ():
            if type(value) is not int or not 0 <= value <= 255:
                raise ValueError(
                    f"dataset.label_map: maps values from 0 to 255 to classes, such as {{0:ignore,255:cat}}, got {value!r}."
                )
        check_folds(self.folds)
        if self.group is not None:
            check_group(self.group)
        self._reading  # noqa: B018 - checks the range
        self._given_colors  # noqa: B018

    @cached_property
    def info(self) -> DatasetInfo:
        names = self._class_list.names
        listed = Path(self.root) / "classes.txt"
        where = "dataset.classes" if self.classes is not None else "dataset.colors" if self._given_colors else listed
        if len(names) < 2:
            raise DatasetError(f"{where}: at least two classes are needed, got {len(names)}; is 'background' one?")
        colors = self._class_list.colors
        palette = tuple(colors[name][0] for name in names) if colors else _palette(names)
        return DatasetInfo("folder", names, palette, self.ignore_label)

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``, or one that the user has made."""
        root = require_folder(self.root, "folder", _LAYOUT)
        if not self._has(name) and name in SPLITS:
            name = name.removeprefix("search_")
        elif not self._has(name):
            raise unknown_split("folder", name)
        list_file = root / f"{name}.txt"
        warnings: list[str] = []
        is_listed = list_file.exists()
        pairs = read_list(list_file, 2, "image labels") if is_listed else _pairs_in(root, name, warnings)
        return FileSplit(
            self.info,
            root,
            tuple((image, labels) for image, labels in pairs),
            labelling=self._labelling,
            reading=self._reading,
            warnings=warnings,
            groups=_groups(self.group, [image if is_listed else image.removeprefix(f"{name}/images/") for image, _ in pairs])
            if self.group and name == "train"
            else (),
        )

    def _has(self, name: str) -> bool:
        return (Path(self.root) / f"{name}.txt").exists() or (Path(self.root) / name / "images").is_dir()

    @cached_property
    def _class_list(self) -> ClassList:
        given = self._given_colors
        if self.classes is None and not given:
            return read_class_list(require_folder(self.root, "folder", _LAYOUT) / "classes.txt")
        if IGNORE in (self.classes or ()):
            raise DatasetError(f"dataset.classes: {IGNORE!r} is not a class; see dataset.ignore_label and dataset.label_map.")
        names = tuple(str(name).strip() for name in (given if self.classes is None else self.classes) if name != IGNORE)
        if "" in names:
            raise DatasetError("dataset.classes: a name must not be empty.")
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise DatasetError(f"dataset.classes: {twice[0]!r} is named twice.")
        if given and set(names) != given.keys() - {IGNORE}:
            wrong = ", ".join(sorted(set(names) ^ (given.keys() - {IGNORE})))
            raise DatasetError(f"dataset.colors: must name every class, and may name {IGNORE!r}; these differ: {wrong}.")
        return ClassList(names, given)

    @cached_property
    def _given_colors(self) -> Mapping[str, Sequence[Color]]:
        colors = {str(name): [*_colors(str(name), given)] for name, given in (self.colors or {}).items()}
        owners: dict[Color, str] = {}
        for name, of_class in colors.items():
            for color in of_class:
                if owners.setdefault(color, name) != name:
                    raise ValueError(f"dataset.colors: {color} stands for {owners[color]!r} and for {name!r}.")
        return colors

    @cached_property
    def _labelling(self) -> Labelling:
        ids = {name: index for index, name in enumerate(self.info.class_names)} | {IGNORE: self.ignore_label}
        if self.label_map is not None:
            given = {value: self._class_of(value, meant, ids) for value, meant in self.label_map.items()}
            return mapped_values({self.ignore_label: self.ignore_label} | given, self.info)
        if colors := self._class_list.colors:
            return Colors({color: ids[name] for name, of_class in colors.items() for color in of_class})
        return class_ids(self.info)

    def _class_of(self, value: int, meant: str | int | None, ids: Mapping[str, int]) -> int:
        if meant is None:
            return self.ignore_label
        if type(meant) is int and 0 <= meant < self.info.num_classes:
            return meant
        if meant in ids:
            return ids[str(meant)]
        raise DatasetError(
            f"dataset.label_map: {value} maps to {meant!r}, which is not a class; accepted are {', '.join(ids)} and ids below "
            f"{len(ids) - 1}."
        )

    @cached_property
    def _reading(self) -> ImageReading:
        if self.value_range is None:
            return ImageReading(self.upright)
        return ImageReading(self.upright, tuple(map(float, self.value_range)))  # type: ignore[arg-type]  # it checks how many


def _colors(name: str, given: Sequence[Any]) -> Iterator[Color]:
    """One colour, or several."""
    is_one = not isinstance(given, list | tuple) or not given or not isinstance(given[0], list | tuple)
    for color in [given] if is_one else given:
        is_color = isinstance(color, list | tuple) and len(color) == 3
        if not is_color or any(type(channel) is not int or not 0 <= channel <= 255 for channel in color):
            raise ValueError(f"dataset.colors: {name} needs a colour of three numbers from 0 to 255, got {color}.")
        yield color[0], color[1], color[2]


def _palette(names: Sequence[str]) -> tuple[Color, ...]:
    return tuple(
        (0, 0, 0) if name.lower() == BACKGROUND else colour
        for name, colour in zip(names, distinct_palette(len(names)), strict=True)
    )


def _groups(pattern: str, images: Sequence[str]) -> list[str]:
    """By stems, or by paths where the pattern has a ``/``. If file names decided, one stray name would regroup all."""
    paths = [Path(image).with_suffix("") for image in images]
    return groups_by_name(pattern, [path.as_posix() if "/" in pattern else path.name for path in paths])


def _pairs_in(root: Path, name: str, warnings: list[str]) -> list[tuple[str, str]]:
    images = _by_stem(root / name / "images", warnings)
    labels = _by_stem(root / name / "labels", warnings)
    unmatched = sorted(images.keys() ^ labels.keys())
    if unmatched:
        stems = f"{len(unmatched)} file stems are in only one of images/ and labels/, the first is {unmatched[0]!r}."
        raise DatasetError(" ".join([f"{root / name}: {stems}", *warnings]))
    return [(str(images[stem].relative_to(root)), str(labels[stem].relative_to(root))) for stem in sorted(images)]


def _by_stem(folder: Path, warnings: list[str]) -> dict[str, Path]:
    """The image files below a folder by their path in it without suffix; what is left out is told."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; folder expects {_LAYOUT}.")
    by_stem: dict[str, Path] = {}
    hidden, others = [], []
    for below in everything_below(folder):
        path, stem = folder / below, str(below.with_suffix("")) if below.name else ""
        if any(map(is_hidden, below.parts)):
            hidden.append(below)
        elif below.suffix.lower() not in SUFFIXES:
            others += [] if path.is_dir() else [below]
        elif by_stem.setdefault(stem, path) != path:
            raise DatasetError(f"{folder}: {by_stem[stem].relative_to(folder)} and {below} have the same stem; keep one.")
    for left_out, why in ((hidden, "are hidden"), (others, f"end in none of {', '.join(SUFFIXES)}")):
        if left_out:
            line = f"{folder}: {len(left_out)} files {why} and are left out, the first is {left_out[0]}."
            warnings.append(printable(line))
    return by_stem
