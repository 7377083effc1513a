"""``dpc predict``: label images with a retrained model."""

from pathlib import Path
from shlex import quote

import torch

from data.datasets.contract import UnreadableError
from data.datasets.image_files import MEGA, read_image
from data.datasets.palette import distinct_palette, palette_image
from data.system.errors import UserError
from data.system.outputs import note_begun, note_made
from models.segmenter import Segmenter
from search.session.saved_model import load_model
from search.settings.predict import PredictSettings
from search.views.console import plain_console
from search.views.figures.overlay import draw_overlay, save_png
from search.views.progress_bar import progress_bar
from search.wording import counted
from training.evaluation import refuse_other_classes
from training.prediction import predict_labels


def run(settings: PredictSettings) -> int:
    """Label every image. Files that cannot be read are named, and the exit code is 1 if there are any."""
    console = plain_console()
    output, targets = settings.output, settings.targets
    for line in settings.left_out:
        console.print(line, soft_wrap=True, markup=False)
    for folder in settings.parts:
        (output / folder).mkdir(parents=True, exist_ok=True)
        note_begun(output / folder, "predict")
    model = load_model(settings.checkpoint, settings.space.operator_kinds, settings.inference.output_stride)
    submission = settings.submission
    if submission:
        refuse_other_classes(model, submission.info)
    unreadable = 0
    with progress_bar(console, "labelling") as progress:
        for done, (image, target) in enumerate(targets.items(), start=1):
            try:
                _label(model, image, target, settings)
            except UnreadableError as error:
                unreadable += 1
                console.print(str(error), soft_wrap=True, markup=False)
            progress(done, len(targets))
    for folder in settings.parts:
        note_made(output / folder, "predict")
    console.print(f"{len(targets) - unreadable} of {counted(len(targets), 'image')} labelled")
    if submission:
        console.print(f"{'submission':<12}{output / submission.folder}", soft_wrap=True, markup=False)
        console.print(f"{'to upload':<12}cd {quote(str(output))} && {submission.upload}", soft_wrap=True, markup=False)
    else:
        console.print(f"{'class ids':<12}{output / 'labels'}", soft_wrap=True, markup=False)
        console.print(f"{'overlays':<12}{output / 'overlays'}", soft_wrap=True, markup=False)
    return 1 if unreadable else 0


def _label(model: Segmenter, image: Path, target: Path, settings: PredictSettings) -> None:
    output, inference = settings.output, settings.inference
    image_HWC, _ = read_image(image, settings.reading, round(settings.max_megapixels * MEGA))
    try:
        labels_HW = predict_labels(model, image_HWC, inference).cpu().numpy()
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"inference.tile_px: {inference.tile_px} needs more memory than the GPU has for {image}; give a smaller one."
        ) from error
    if settings.submission:
        save_png(settings.submission.picture_of(labels_HW), output / target)
        return
    palette = model.palette or distinct_palette(len(model.class_names))
    save_png(palette_image(labels_HW, palette), output / "labels" / target)
    save_png(draw_overlay(image_HWC, labels_HW, palette, model.class_names, settings.opacity), output / "overlays" / target)
