"""How much each class counts in the loss."""

import numpy as np
import torch

from data.datasets.contract import DatasetInfo, SegmentationDataset, Split
from data.system.errors import UserError
from training.loss_settings import LossSettings
from training.losses import Weighing


def weighing_of(settings: LossSettings, dataset: SegmentationDataset, train_split: str, device: torch.device) -> Weighing:
    """What the loss is told; a rule reads the labels of the whole split.

    Raises:
        UserError: not one weight a class.
    """
    weights, info = settings.class_weights, dataset.info
    if isinstance(weights, str):
        weights = weights_by_rule(weights, label_pixels(dataset.split(train_split), info))
    if weights is not None and len(weights) != info.num_classes:
        raise UserError(
            f"training.loss.class_weights: must be one weight for each of the {info.num_classes} classes of {info.name}, got "
            f"{len(weights)}."
        )
    weights_K = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
    return Weighing(weights_K, settings.hard_pixels, settings.label_smoothing)


def label_pixels(split: Split, info: DatasetInfo) -> list[int]:
    """Of each class in a split."""
    pixels = np.zeros(256, np.int64)
    for index in range(len(split)):
        pixels += np.bincount(split[index].labels_HW.ravel(), minlength=256)
    pixels[info.ignore_label] = 0
    return pixels[: info.num_classes].tolist()


def weights_by_rule(rule: str, pixels_K: list[int]) -> list[float]:
    """As ``LossSettings`` has the rules; 0 for a class without a pixel, which nothing could be learnt of."""
    there = [pixels for pixels in pixels_K if pixels]
    total, median = sum(there), float(np.median(there)) if there else 0.0
    if rule == "median_frequency":
        return [median / pixels if pixels else 0.0 for pixels in pixels_K]
    return [1 / float(np.log(1.02 + pixels / total)) if pixels else 0.0 for pixels in pixels_K]
