"""``dpc predict``: label images with a retrained model."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from data.datasets.contract import UnreadableError, palette_of
from data.datasets.image_files import SUFFIXES, ImageReading, read_image
from models.segmenter import Segmenter
from search.config import Config, ConfigError
from search.session.progress import progress_bar
from search.session.saved_model import load_model
from search.views.figures.overlay import draw_overlay, palette_image, save_png
from training.prediction import predict_labels
from training.settings import Inference


def run(config: Config) -> int:
    """Label every image. Files that cannot be read are named, and the exit code is 1 if there are any."""
    console = Console(highlight=False)
    inference = config.build("inference", Inference)
    opacity = config.value("opacity", float)
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity: must be from 0 to 1, got {opacity}.")
    output = config.value("output", Path)
    targets = name_targets(find_images(config.value("images", str), output))
    for folder in ("labels", "overlays"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    model = load_model(config)

    unreadable = 0
    with progress_bar(console, "labelling") as progress:
        for done, (image, target) in enumerate(targets.items(), start=1):
            try:
                _label(model, image, output, target, inference, opacity)
            except UnreadableError as error:
                unreadable += 1
                console.print(str(error), soft_wrap=True, markup=False)
            progress(done, len(targets))
    console.print(f"{len(targets) - unreadable} of {len(targets)} images labelled")
    console.print(f"{'class ids':<12}{output / 'labels'}", soft_wrap=True, markup=False)
    console.print(f"{'overlays':<12}{output / 'overlays'}", soft_wrap=True, markup=False)
    return 1 if unreadable else 0


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


def _label(model: Segmenter, image: Path, output: Path, target: Path, inference: Inference, opacity: float) -> None:
    image_HWC, _ = read_image(image, ImageReading(upright=True))
    try:
        labels_HW = predict_labels(model, image_HWC, inference).cpu().numpy()
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"inference.tile_px: {inference.tile_px} needs more memory than the GPU has for {image}; give a smaller one."
        ) from error
    palette = model.palette or palette_of(len(model.class_names))
    save_png(palette_image(labels_HW, palette), output / "labels" / target)
    save_png(draw_overlay(image_HWC, labels_HW, palette, model.class_names, opacity), output / "overlays" / target)
