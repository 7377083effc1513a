"""How much each class counts in the loss."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from data.datasets.contract import DatasetInfo, SegmentationDataset, Split
from data.datasets.file_split import FileSplit
from data.system.errors import UserError
from training.loss_settings import LossSettings
from training.losses import Weighing

READERS_AT_MOST = 8
"""Each holds a whole image in memory."""


@dataclass(frozen=True, slots=True)
class LabelPixels:
    """How often classes are seen.

    Attributes:
        own_K: the pixels of each class.
        around_K: the labelled pixels, of whatever class, in all images that show it.
    """

    own_K: Sequence[int]
    around_K: Sequence[int]


def weighing_of(settings: LossSettings, dataset: SegmentationDataset, train_split: str, device: torch.device) -> Weighing:
    """What the loss is told; a rule reads the labels of the whole split.

    Raises:
        UserError: not one weight per class.
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


def label_pixels(
    split: Split, info: DatasetInfo, progress: Callable[[int, int], None] = lambda done, total: None
) -> LabelPixels:
    """Of each class in a split, whose every sample is read.

    Raises:
        DatasetError: a sample cannot be read.
    """
    own, around = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for done, pixels in enumerate(_pixels_of_samples(split), start=1):
        pixels[info.ignore_label] = 0
        own += pixels
        around += pixels.sum() * (pixels > 0)
        progress(done, len(split))
    return LabelPixels(own[: info.num_classes].tolist(), around[: info.num_classes].tolist())


def _pixels_of_samples(split: Split) -> Iterator[npt.NDArray[np.int64]]:
    """In threads where the split is known to be safe in them: a user's own may have one file that all samples are read from."""

    def counted(index: int) -> npt.NDArray[np.int64]:
        return np.bincount(split[index].labels_HW.ravel(), minlength=256)

    if type(split) is not FileSplit:
        yield from map(counted, range(len(split)))
        return
    with ThreadPoolExecutor(min(torch.get_num_threads(), READERS_AT_MOST)) as readers:
        yield from readers.map(counted, range(len(split)))


def weights_by_rule(rule: str, pixels: LabelPixels) -> list[float]:
    """As ``LossSettings`` has the rules; 0 for a class without a pixel, which nothing could be learnt of."""
    if rule == "median_frequency":
        shares = [own / around if own else 0.0 for own, around in zip(pixels.own_K, pixels.around_K, strict=True)]
        median = float(np.median([share for share in shares if share] or [0.0]))
        return [median / share if share else 0.0 for share in shares]
    total = sum(pixels.own_K)
    return [1 / float(np.log(1.02 + own / total)) if own else 0.0 for own in pixels.own_K]
