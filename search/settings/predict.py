"""What ``dpc predict`` is told."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.datasets.image_files import SUFFIXES
from search.config import Config, ConfigError
from search.settings.saved_model import SavedModel
from training.settings import Inference


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Images to label.

    Attributes:
        opacity: of the colours over the image.
        targets: for each image, the PNG that belongs to it, relative to ``labels`` and ``overlays`` in ``output``.
    """

    checkpoint: SavedModel
    inference: Inference
    opacity: float
    output: Path
    targets: Mapping[Path, Path]

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity: must be from 0 to 1, got {self.opacity}.")


def read(config: Config) -> PredictSettings:
    """Raises a ConfigError for what is wrong."""
    images = find_images(config.value("images", str), config.value("output", Path))
    return config.read(PredictSettings, targets=name_targets(images))


def find_images(images: str, output: Path) -> list[Path]:
    """The files that ``images`` stands for, in order; what lies below ``output`` is from an earlier run.

    Raises:
        ConfigError: there are none.
    """
    path = Path(images)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
        expected = f"a file that ends in {', '.join(SUFFIXES)}"
    else:
        found = [file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file()]
        expected = "a file, a folder or a pattern that matches some"
    found = [file for file in found if not file.resolve().is_relative_to(output.resolve())]
    if not found:
        raise ConfigError(f"images: nothing found at {images}; expected is {expected}.")
    return sorted(found)


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
