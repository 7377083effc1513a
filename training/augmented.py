"""Batches of augmented images."""

import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from data.datasets.contract import SegmentationDataset, Split
from data.system.errors import UserError
from data.transforms import Augmentation
from models.settings import BackboneSettings
from training.batches import sample_at
from training.settings import RetrainSettings
from training.step import Batch
from training.workers import Workers

LOADERS_AT_MOST = 16
"""Each holds two batches in memory."""


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
        further=settings.augment,
    )
    augmentation.try_once()  # so that a further transform is refused here, and not in a process that loads
    samples = AugmentedSamples(dataset.split(settings.train_split), augmentation, seed)
    share = settings.batch_size // workers.size
    starts = range(start * settings.batch_size, settings.iterations * settings.batch_size, settings.batch_size)
    numbers = [[first + workers.rank * share + place for place in range(share)] for first in starts]
    device = workers.device
    is_pinned = device.type == "cuda"
    loaders = loaders_for(device) if settings.workers is None else settings.workers
    batches = iter(
        DataLoader(
            samples,
            batch_sampler=numbers,
            num_workers=loaders,
            collate_fn=_batch_of,
            pin_memory=is_pinned,
            worker_init_fn=_leave_group,
        )
    )
    mean_C11, std_C11 = (torch.tensor(values, device=device).view(3, 1, 1) for values in (backbone.mean, backbone.std))

    def batch_at(iteration: int) -> Batch:
        batch = next(batches)
        if isinstance(batch, UserError):
            raise batch
        images_BHWC, labels_BHW = (part.to(device, non_blocking=is_pinned) for part in batch)
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).contiguous().float() / 255
        return (images_BCHW - mean_C11) / std_C11, labels_BHW

    return batch_at


def loaders_for(device: torch.device) -> int:
    """Processes that load images: on a GPU one for each CPU that this process may compute with, as a cluster has reserved."""
    return min(torch.get_num_threads(), LOADERS_AT_MOST) if device.type == "cuda" else 1


def _leave_group(loader: int) -> None:
    """What is sent to a whole process group, as SIGTERM often is, is for the process that trains: it ends its loaders."""
    os.setpgid(0, 0)


def _batch_of(samples: Sequence[tuple[Tensor, Tensor] | UserError]) -> Batch | UserError:
    """Samples as one batch, or what is wrong with the first that is no sample."""
    return next((sample for sample in samples if isinstance(sample, UserError)), None) or default_collate(list(samples))


class AugmentedSamples(Dataset[tuple[Tensor, Tensor] | UserError]):
    """The training samples in the order of their use: sample n is a function of (seed, n), whoever loads it.

    An image (H, W, 3) is of bytes: a quarter of what its normalised values are on their way from process to process to device.
    What is wrong with a sample is given, not raised: an error of a process that loads would have its traceback for a text.
    """

    def __init__(self, split: Split, augmentation: Augmentation, seed: int) -> None:
        self._split, self._augmentation, self._seed = split, augmentation, seed

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | UserError:
        try:
            sample = self._split[sample_at(number, len(self._split), self._seed)]
            augmented = self._augmentation(sample, seed=(self._seed * 1_000_003 + number) % 2**32)
        except UserError as error:
            return error
        return torch.from_numpy(augmented.image_HWC), torch.from_numpy(augmented.labels_HW)
