"""How good a whole model is, on full images."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch

from data.datasets.contract import DatasetInfo, Split
from data.datasets.label_questions import why_unscorable
from data.system.errors import UserError
from models.segmenter import Segmenter
from training.metrics import ConfusionMatrix
from training.prediction import predict_labels
from training.settings import Inference
from training.workers import ALONE, Workers

SINGLE_SCALE = Inference()


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's scores on a split, 0 to 1.

    Attributes:
        miou: mean over the classes that occur.
        pixel_accuracy: share of labelled pixels that are right.
        iou: by class name; None for a class that occurs neither in labels nor predictions.
    """

    miou: float
    pixel_accuracy: float
    iou: dict[str, float | None]

    @classmethod
    def of(cls, matrix: ConfusionMatrix, info: DatasetInfo) -> Self:
        """What ``matrix`` says.

        Raises:
            ValueError: it has counted no pixel.
        """
        if math.isnan(matrix.miou()):
            raise UserError(f"{info.name}: no pixel of the split has a label.")
        iou = zip(info.class_names, matrix.iou_K().tolist(), strict=True)
        by_name = {name: None if math.isnan(value) else value for name, value in iou}
        return cls(matrix.miou(), matrix.pixel_accuracy(), by_name)


def refuse_other_classes(model: Segmenter, info: DatasetInfo) -> None:
    """See that a class id means the same to both. A model whose classes have no names, such as an imported one, is believed.

    Raises:
        UserError: the model has another number of classes than the data set, or they have other names.
    """
    num_classes, named = len(model.class_names), model.class_names
    if num_classes != info.num_classes:
        raise UserError(f"checkpoint: the model has {num_classes} classes, {info.name} has {info.num_classes}.")
    if named == [str(index) for index in range(num_classes)]:
        return
    for index, (own, other) in enumerate(zip(named, info.class_names, strict=True)):
        if own != other:
            raise UserError(f"checkpoint: class {index} of the model is {own!r}, of {info.name} {other!r}.")


def has_labels(split: Split, info: DatasetInfo) -> bool:
    """Whether any pixel of a split is labelled: some data sets keep the labels of their test images."""
    return any((split[index].labels_HW != info.ignore_label).any() for index in range(len(split)))


def evaluate(
    model: Segmenter,
    split: Split,
    info: DatasetInfo,
    progress: Callable[[int, int], None] = lambda done, total: None,
    workers: Workers = ALONE,
) -> Scores:
    """Score ``model`` on every image of ``split`` at one scale; see ``count_confusion``.

    Raises:
        UserError: fewer than two classes are labelled: such a score compares nothing.
    """
    matrix = count_confusion(model, split, info, progress, workers=workers)
    pixels = dict(zip(info.class_names, matrix.counts_KK.sum(dim=1).tolist(), strict=True))
    if unscorable := why_unscorable(pixels, 0, info):
        raise UserError(f"{info.name}: {unscorable}")
    return Scores.of(matrix, info)


def count_confusion(
    model: Segmenter,
    split: Split,
    info: DatasetInfo,
    progress: Callable[[int, int], None] = lambda done, total: None,
    inference: Inference = SINGLE_SCALE,
    workers: Workers = ALONE,
) -> ConfusionMatrix:
    """Compare labels and predictions on every image of ``split`` at its own size, one by one.

    Args:
        progress: called with the images done and their total.
        workers: share the images; each gets what all have counted.

    Raises:
        UserError: the model tells other classes apart than the data set has.
    """
    refuse_other_classes(model, info)
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(info.num_classes, info.ignore_label)
    model.eval()
    own = range(workers.rank, len(split), workers.size)
    for done, index in enumerate(own, start=1):
        sample = split[index]
        predictions_HW = predict_labels(model, sample.image_HWC, inference)
        matrix.update(predictions_HW[None], torch.from_numpy(sample.labels_HW)[None].to(device))
        progress(done, len(own))
    matrix.counts_KK = workers.sum(matrix.counts_KK)
    return matrix
