"""From a data set and a backbone to a feature cache."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.cache_build import CacheBuild, Samples, build_cache
from data.check import shared_images
from data.datasets import DatasetError, Sample, SegmentationDataset, Split
from data.digests import FileDigests
from data.feature_cache import CacheError, CacheKey
from data.pool import process_pool
from data.transforms import Augmentation, mirrored
from models.backbones import BackboneSettings, features_of, weights_digest
from models.segmenter import padded_px
from training.allocator import keep_freed_memory

TRAINING_SPLITS = ("train", "search_train")
"""Their features may be of augmented views and their labels coarser; others are what is scored, as it is."""
SHARD_PX = 32_000_000
"""Pixels of images that make a shard: 15 of Cityscapes' images, half a minute of one CPU."""
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How features are cached.

    Attributes:
        folder: where caches lie; each has a folder of its own there.
        dtype: of the stored features.
        height_px: images are padded to this height; None for the highest image's, rounded up to the features' grid.
        width_px: likewise.
        views: of each training image: itself, its mirror image, and from the third on random scales and crops, mirrored in
            turn. The cache grows as many times.
        scales: factors that the third and further views are resized by, drawn from with equal chance.
        label_stride: every so many-th row and column of the training labels is kept; 1 for the loss at full resolution.
        workers: processes that extract; None for one a GPU, or one a CPU where there is none.
        batch_size: images a forward pass; it changes no value. None for 8 on a GPU and 1 on a CPU, whose caches it suits.
    """

    folder: str
    dtype: Literal["float16", "float32"] = "float16"
    height_px: int | None = None
    width_px: int | None = None
    views: int = 1
    scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    label_stride: int = 1
    workers: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"cache.dtype must be 'float16' or 'float32', got {self.dtype!r}.")
        for name in ("views", "label_stride", "workers", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"cache.{name} must be at least 1, got {getattr(self, name)}.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"cache.scales must be at least one factor above 0, got {list(self.scales)}.")


def cache_features(
    dataset: SegmentationDataset,
    split_name: str,
    backbone: nn.Module,
    backbone_settings: BackboneSettings,
    settings: CacheSettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """The folder of a split's finished cache, which is built if it is not there.

    Args:
        progress: told the images done and in all while building.

    Raises:
        DatasetError: a sample cannot be read.
        ValueError: an image is larger than the padded size.
        CacheError: features are not finite in the stored type, or a process that extracted them died.
        OSError: the disk is full or not writable.
    """
    build = plan_cache(dataset, split_name, weights_digest(backbone), backbone_settings, settings)
    if build.is_finished():
        return build.folder
    workers = settings.workers or max(1, torch.cuda.device_count() or os.cpu_count() or 1)
    batch_size = settings.batch_size or (8 if torch.cuda.is_available() else 1)
    if min(workers, len(build.shards)) == 1:
        extract = FeatureExtractor(backbone, backbone_settings)
        return build_cache(build, extract, batch_size, _readers(1), progress)
    _fill_in_processes(min(workers, len(build.shards)), build, backbone, backbone_settings, batch_size, progress)
    return build.finish()


def refuse_leaks(dataset: SegmentationDataset, split_names: Sequence[str], settings: CacheSettings) -> None:
    """Refuse splits that share images.

    Raises:
        DatasetError: they do, or an image cannot be read.
    """
    splits = {name: dataset.split(name) for name in split_names}
    for leak in shared_images(splits, FileDigests(_memory(settings))):
        raise DatasetError(f"{dataset.info.name}, {leak.split}: {leak.text}")


def _memory(settings: CacheSettings) -> Path:
    return Path(settings.folder) / "digests.json"


def plan_cache(
    dataset: SegmentationDataset, split_name: str, weights: str, backbone: BackboneSettings, settings: CacheSettings
) -> CacheBuild:
    """What is to be cached of a split.

    Args:
        weights: digest of the backbone's.

    Raises:
        DatasetError: a file cannot be read.
        ValueError: ``cache.label_stride`` does not divide the backbone's output stride.
    """
    split = dataset.split(split_name)
    is_training = split_name in TRAINING_SPLITS
    if backbone.output_stride % settings.label_stride:
        raise ValueError(
            f"cache.label_stride must divide the output stride {backbone.output_stride}, got {settings.label_stride}."
        )
    highest, widest = split.extent_px()
    height_px = padded_px(settings.height_px or highest, backbone.output_stride)
    width_px = padded_px(settings.width_px or widest, backbone.output_stride)
    views = settings.views if is_training else 1
    key = CacheKey(
        dataset={
            "name": dataset.info.name,
            "split": split_name,
            "content": split.fingerprint(FileDigests(_memory(settings))),
        },
        backbone={**asdict(backbone), "mean": list(backbone.mean), "std": list(backbone.std), "weights": weights},
        height_px=height_px,
        width_px=width_px,
        dtype=settings.dtype,
        label_stride=settings.label_stride if is_training else 1,
        views={"count": views, "scales": list(settings.scales) if views > 2 else []} if views > 1 else {},
    )
    samples: Samples = split
    if views > 1:
        augmentation = Augmentation(height_px, width_px, backbone.mean, dataset.info.ignore_label, settings.scales, flip=0.0)
        samples = Views(split, views, augmentation)
    return CacheBuild(Path(settings.folder), key, samples, dataset.info, max(1, SHARD_PX // (height_px * width_px)))


@dataclass(frozen=True)
class Views:
    """Several views of each sample of a split: all first ones, then all second ones, and so on.

    The first is the sample itself, the second its mirror image; from the third on they are augmented, and mirrored in turn.
    Sample i is a function of i alone.
    """

    split: Split
    count: int
    augmentation: Augmentation

    def __len__(self) -> int:
        return self.count * len(self.split)

    def __getitem__(self, index: int) -> Sample:
        view, number = divmod(index, len(self.split))
        sample = self.split[number]
        if view >= 2:
            sample = self.augmentation(sample, seed=index)
        return mirrored(sample) if view % 2 else sample


class FeatureExtractor:
    """Runs a frozen backbone: batch norm uses its running statistics, on the GPU where there is one."""

    def __init__(self, backbone: nn.Module, settings: BackboneSettings) -> None:
        keep_freed_memory()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._backbone = backbone.to(self._device).eval()
        self._mean_C11 = torch.tensor(settings.mean, device=self._device).view(3, 1, 1)
        self._std_C11 = torch.tensor(settings.std, device=self._device).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, images_BHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """Features (B, C, h, w) of RGB images."""
        images_BCHW = torch.from_numpy(images_BHWC).to(self._device).permute(0, 3, 1, 2).float() / 255
        features_BCHW = features_of(self._backbone, (images_BCHW - self._mean_C11) / self._std_C11)
        return features_BCHW.cpu().numpy()


def _fill_in_processes(
    workers: int,
    build: CacheBuild,
    backbone: nn.Module,
    backbone_settings: BackboneSettings,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> None:
    total = len(build.samples)
    done = multiprocessing.get_context("spawn").Value("q", total - sum(len(build.shards[i]) for i in build.unfinished()))
    extractor = partial(FeatureExtractor, backbone.cpu(), backbone_settings)
    try:
        with process_pool(workers, _keep, (extractor, done)) as pool:
            running = {pool.submit(_fill, build, batch_size, number, workers) for number in range(workers)}
            while running:
                finished, running = wait(running, POLL_S, FIRST_COMPLETED)
                progress(done.value, total)
                for future in finished:
                    future.result()
    except BrokenProcessPool as error:
        raise CacheError(
            f"{build.folder}: a process that extracted features died, maybe for want of memory; the same command goes on, "
            "and cache.workers=1 needs the least memory."
        ) from error


_kept: tuple[Callable[[], FeatureExtractor], "Synchronized[int]"]


def _keep(extractor: Callable[[], FeatureExtractor], done: "Synchronized[int]") -> None:
    global _kept  # noqa: PLW0603 - a process' own, set once when it starts
    _kept = extractor, done


def _fill(build: CacheBuild, batch_size: int, number: int, workers: int) -> None:
    extractor, done = _kept
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())

    def tell(images: int) -> None:
        with done.get_lock():
            done.value += images

    build.fill(extractor(), batch_size, _readers(workers), tell)


def _readers(workers: int) -> int:
    """Threads that load images for one process: a GPU waits for many, a CPU has its own work to do."""
    return max(1, (os.cpu_count() or 1) // workers) if torch.cuda.is_available() else 1
