"""From a data set and a backbone to a feature cache."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from data.cache_build import CacheBuild, Samples
from data.check import shared_by_folds, shared_images
from data.datasets import DatasetError, Sample, SegmentationDataset, Split
from data.digests import FileDigests
from data.feature_cache import CacheKey
from data.folds import Fold, folds_of
from data.transforms import Augmentation, mirrored
from models.backbones import BackboneSettings, weights_digest
from models.segmenter import padded_px
from training.extraction_pool import fill_in_processes
from training.extractor import Extraction

TRAINING_SPLITS = ("train", "search_train")
"""Their features may be of augmented views and their labels coarser; others are what is scored, as it is."""
SHARD_PX = 32_000_000
"""Pixels of images that make a shard: 15 of Cityscapes' images, half a minute of one CPU."""

Fill = Callable[[Extraction, int | None, Callable[[int, int], None]], Path]
"""Builds a cache by ``cache.workers`` processes somewhere, tells the images done and in all, and returns its folder."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How features are cached.

    Attributes:
        folder: where caches lie; each has a folder of its own there.
        local: a folder on each node's own disk, where trials find copies of finished caches; None reads them where they lie.
        dtype: of the stored features.
        height_px: images are padded to this height; None for the highest image's, rounded up to the features' grid.
        width_px: likewise.
        views: of each training image: itself, its mirror image, and from the third on random scales and crops, mirrored in
            turn. The cache grows as many times.
        scales: factors that the third and further views are resized by, drawn from with equal chance.
        label_stride: every so many-th row and column of the training labels is kept; 1 for the loss at full resolution.
        workers: processes that extract; None for one a GPU, or one a CPU where there is none; on a cluster, for as many as
            it holds.
        batch_size: images a forward pass; it changes no value. None for 8 on a GPU and 1 on a CPU, whose caches it suits.
    """

    folder: str
    local: str | None = None
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
        if self.local is not None and Path(self.local).resolve() == Path(self.folder).resolve():
            raise ValueError(f"cache.local must be another folder than cache.folder, got {self.local!r} for both.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"cache.scales must be at least one factor above 0, got {list(self.scales)}.")


def cache_features(
    dataset: SegmentationDataset,
    split_name: str,
    backbone: nn.Module,
    backbone_settings: BackboneSettings,
    settings: CacheSettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
    fill: Fill = fill_in_processes,
) -> Path:
    """The folder of a split's finished cache, which is built if it is not there.

    Args:
        progress: told the images done and in all while building.
        fill: who extracts: processes of this machine, or others.

    Raises:
        DatasetError: a sample cannot be read.
        ValueError: an image is larger than the padded size.
        CacheError: features are not finite in the stored type, or a process that extracted them died.
        OSError: the disk is full or not writable.
    """
    build = plan_cache(dataset, split_name, weights_digest(backbone), backbone_settings, settings)
    if build.is_finished():
        return build.folder
    return fill(Extraction(build, backbone.cpu(), backbone_settings, settings.batch_size), settings.workers, progress)


def refuse_leaks(dataset: SegmentationDataset, split_names: Sequence[str], settings: CacheSettings) -> None:
    """Refuse splits that share images.

    Raises:
        DatasetError: they do, or an image cannot be read.
    """
    splits = {name: dataset.split(name) for name in split_names}
    for leak in shared_images(splits, FileDigests(_memory(settings))):
        raise DatasetError(f"{dataset.info.name}, {leak.split}: {leak.text}")


def search_folds(dataset: SegmentationDataset, settings: CacheSettings) -> Sequence[Fold]:
    """What a search holds out of ``train`` in turn; empty where it has the splits ``search_train`` and ``search_val``.

    Raises:
        ValueError: the data set cannot be parted so, or labels are not cached in full: they are trained on and scored.
        DatasetError: an image lies in two folds, or cannot be read.
    """
    if dataset.folds is None:
        return ()
    if settings.label_stride != 1:
        raise ValueError(f"cache.label_stride must be 1 with dataset.folds, got {settings.label_stride}.")
    train = dataset.split("train")
    folds = folds_of(len(train), train.groups, dataset.folds)
    for leak in shared_by_folds(train, folds, FileDigests(_memory(settings))):
        raise DatasetError(f"{dataset.info.name}, {leak.split}: {leak.text}")
    return folds


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
    return CacheBuild(Path(settings.folder).resolve(), key, samples, dataset.info, max(1, SHARD_PX // (height_px * width_px)))


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
