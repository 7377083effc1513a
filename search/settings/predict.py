"""What ``dpc predict`` is told."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.datasets.contract import printable
from data.datasets.image_files import AS_STORED, SUFFIXES, ImageReading, everything_below, is_hidden
from data.datasets.submission import Server, Submission, submission_to
from data.system.outputs import check_free
from data.system.paths import PathText
from search.config import Config
from search.config_errors import ConfigError
from search.deciding.space import AnyCell, CellSpace
from search.settings.checkpoint import SavedModel
from search.settings.places import OutputFolder
from training.settings import Inference


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Images to label.

    Attributes:
        space: whose kinds of operator the model's cell may hold.
        opacity: of the colours over the image.
        max_megapixels: of an image; a file of a few bytes may claim to hold more than any memory.
        value_range: the values of black and white, for images of more than 8 bits per channel.
        left_out: why files are no images to label, a line each.
        targets: for each image, the PNG that belongs to it, relative to ``labels`` and ``overlays`` in ``output``.
        submission: the test images of a data set, whose labels are written for its server instead; None for other images.
    """

    checkpoint: SavedModel
    space: CellSpace | AnyCell
    inference: Inference
    opacity: float
    output: OutputFolder
    max_megapixels: float
    value_range: Sequence[float] | None
    targets: Mapping[Path, Path]
    left_out: Sequence[str]
    submission: Submission | None
    overwrite: bool

    def __post_init__(self) -> None:
        for folder in self.parts:
            check_free("output", self.output / folder, "predict", self.overwrite)
        if self.max_megapixels <= 0:
            raise ValueError(f"max_megapixels: must be above 0, got {self.max_megapixels}.")
        _ = self.reading
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity: must be from 0 to 1, got {self.opacity}.")

    @property
    def parts(self) -> Sequence[str]:
        """The folders in ``output`` that are written."""
        return [self.submission.folder.parts[0]] if self.submission else ["labels", "overlays"]

    @property
    def reading(self) -> ImageReading:
        """As people look at them; those of a data set as it is trained on."""
        if self.submission:
            return AS_STORED
        value_range: tuple[float, float] | None = self.value_range and tuple(self.value_range)  # type: ignore[assignment]
        return ImageReading(upright=True, value_range=value_range, range_setting="value_range")


def read(config: Config) -> PredictSettings:
    """The settings of ``dpc predict``. Raises a ConfigError for what is wrong."""
    server = config.optional("submission", Server)  # type: ignore[arg-type]
    if server:
        submission = submission_to(server, config.value("images", Path))
        return config.read(
            PredictSettings,
            submission=submission,
            targets={image: submission.file_of(image) for image in submission.images},
            left_out=(),
        )
    images, left_out = find_images(config.value("images", PathText), config.value("output", Path))
    return config.read(PredictSettings, submission=None, targets=name_targets(images), left_out=left_out)


def find_images(images: str, output: Path) -> tuple[list[Path], list[str]]:
    """The files that ``images`` stands for, in order, and a line for each reason why others are left out.

    Raises:
        ConfigError: there are none.
    """
    path = Path(images)
    found: Iterable[Path]
    if path.is_file():
        return [path], []
    if path.is_dir():
        found, suffixes = map(path.joinpath, everything_below(path)), SUFFIXES
        expected = f"a file that ends in {', '.join(SUFFIXES)}"
    else:
        found, suffixes = Path(path.anchor).glob(str(path.relative_to(path.anchor))), None
        expected = "a file, a folder or a pattern that matches some"
    kept: list[Path] = []
    others: dict[str, list[Path]] = {}
    for file in sorted(file for file in found if file.is_file()):
        if file.resolve().is_relative_to(output.resolve()):
            others.setdefault(f"lie below output={output}", []).append(file)
        elif any(map(is_hidden, file.relative_to(path).parts if path.is_dir() else [file.name])):
            others.setdefault("are hidden", []).append(file)
        elif suffixes and file.suffix.lower() not in suffixes:
            others.setdefault(f"end in none of {', '.join(suffixes)}", []).append(file)
        else:
            kept.append(file)
    left_out = [
        printable(f"{len(files)} files {why} and are left out, the first is {files[0]}.") for why, files in others.items()
    ]
    if not kept:
        raise ConfigError(f"images: nothing found at {images}; expected is {expected}. {' '.join(left_out)}".strip())
    return kept, left_out


def name_targets(images: Sequence[Path]) -> dict[Path, Path]:
    """For each image, the PNG that belongs to it, relative to a folder of results.

    Images keep the folders that they do not share. Their suffix stays in the name (``a.jpg.png``) where dropping it would
    give two of them one name.
    """
    shared = Path(os.path.commonpath([image.absolute().parent for image in images]))
    relative = {image: image.absolute().relative_to(shared) for image in images}
    targets = {image: path.with_suffix(".png") for image, path in relative.items()}
    if len(set(targets.values())) < len(targets):
        targets = {image: path.with_name(path.name + ".png") for image, path in relative.items()}
    return targets
