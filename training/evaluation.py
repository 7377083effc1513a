"""How good a whole model is: full images, single scale."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from data.datasets import DatasetInfo, Split
from data.transforms import normalize
from models.segmenter import Segmenter
from training.metrics import ConfusionMatrix


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


@torch.inference_mode()
def evaluate(
    model: Segmenter, split: Split, info: DatasetInfo, progress: Callable[[int, int], None] = lambda done, total: None
) -> Scores:
    """Score ``model`` on every image of ``split`` at its own size, one by one.

    Args:
        progress: told the images done and in all.

    Raises:
        ValueError: the model has another number of classes than the data set, or no pixel has a label.
    """
    num_classes = model.classifier.out_channels
    if num_classes != info.num_classes:
        raise ValueError(f"checkpoint: the model has {num_classes} classes, {info.name} has {info.num_classes}.")
    device = next(model.parameters()).device
    settings = model.backbone_settings
    matrix = ConfusionMatrix(info.num_classes, info.ignore_label)
    model.eval()
    for index in range(len(split)):
        sample = split[index]
        image_CHW = torch.from_numpy(normalize(sample.image_HWC, settings.mean, settings.std)).to(device)
        predictions_BHW = model(image_CHW[None]).max(dim=1).indices
        matrix.update(predictions_BHW, torch.from_numpy(sample.labels_HW)[None].to(device))
        progress(index + 1, len(split))
    if math.isnan(matrix.miou()):
        raise ValueError(f"{info.name}: no pixel of the split has a label.")
    iou = {
        name: None if math.isnan(value) else value
        for name, value in zip(info.class_names, matrix.iou_K().tolist(), strict=True)
    }
    return Scores(matrix.miou(), matrix.pixel_accuracy(), iou)
