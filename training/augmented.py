"""Batches of augmented images."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.datasets.contract import SegmentationDataset, Split
from data.transforms import Augmentation, normalize
from models.settings import BackboneSettings
from training.batches import sample_at
from training.settings import RetrainSettings
from training.step import Batch
from training.workers import Workers


def image_batches(
    dataset: SegmentationDataset,
    backbone: BackboneSettings,
    settings: RetrainSettings,
    seed: int,
    start: int,
    workers: Workers,
) -> Callable[[int], Batch]:
    """The batches from iteration ``start`` on, in their order: of each, the share of this worker."""
    augmentation = Augmentation(
        height_px=settings.height_px,
        width_px=settings.width_px,
        mean=backbone.mean,
        ignore_label=dataset.info.ignore_label,
        scales=settings.scales,
        flip=0.5 if settings.flip else 0.0,
        color_jitter=settings.color_jitter,
    )
    samples = AugmentedSamples(dataset.split(settings.train_split), augmentation, backbone, seed)
    share = settings.batch_size // workers.size
    starts = range(start * settings.batch_size, settings.iterations * settings.batch_size, settings.batch_size)
    numbers = [[first + workers.rank * share + place for place in range(share)] for first in starts]
    batches = iter(DataLoader(samples, batch_sampler=numbers, num_workers=settings.workers))

    def batch_at(iteration: int) -> Batch:
        images_BCHW, labels_BHW = next(batches)
        return images_BCHW.to(workers.device), labels_BHW.to(workers.device)

    return batch_at


class AugmentedSamples(Dataset[tuple[Tensor, Tensor]]):
    """The training samples in the order of their use: sample n is a function of (seed, n), whoever loads it."""

    def __init__(self, split: Split, augmentation: Augmentation, backbone: BackboneSettings, seed: int) -> None:
        self._split, self._augmentation, self._backbone, self._seed = split, augmentation, backbone, seed

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        sample = self._split[sample_at(number, len(self._split), self._seed)]
        augmented = self._augmentation(sample, seed=(self._seed * 1_000_003 + number) % 2**32)
        image_CHW = normalize(augmented.image_HWC, self._backbone.mean, self._backbone.std)
        return torch.from_numpy(image_CHW), torch.from_numpy(augmented.labels_HW)
