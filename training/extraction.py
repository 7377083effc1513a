"""From a data set and a backbone to a feature cache."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Self

from torch import nn

from data.cache.build import CacheBuild, Samples
from data.cache.feature_cache import CacheKey
from data.cache.settings import CacheSettings
from data.cache.views import Views
from data.datasets.check import shared_images
from data.datasets.contract import DatasetError, DatasetInfo, SegmentationDataset
from data.digests import MEMORY, FileDigests
from data.folds import Fold, folds_of
from data.system.errors import UserError
from data.system.json_file import remembered
from data.transforms import Augmentation
from models.backbones import build_backbone, weights_digest
from models.grid import padded_px
from models.settings import HUB, BackboneSettings
from training.extractor import Extraction, fill_in_processes
from training.source_code import source_digest

TRAINING_SPLITS = ("train", "search_train")
"""Their features may be of augmented views and their labels coarser; others are what is scored, as it is."""
SHARD_PX = 32_000_000
"""Pixels of images that make a shard: 15 of Cityscapes' images, half a minute of one CPU."""

BACKBONE_PACKAGES = ("timm", "segmentation-models-pytorch")

Fill = Callable[[Extraction, int | None, Callable[[int, int], None]], Path]
"""Builds a cache by ``cache.workers`` processes and returns its folder; it calls back with the images done and their total."""


@dataclass(frozen=True)
class FrozenBackbone:
    """What features are extracted by.

    Attributes:
        weights: their digest.
        build: called where features are missing.
    """

    settings: BackboneSettings
    weights: str
    build: Callable[[], nn.Module]

    @classmethod
    def of(cls, settings: BackboneSettings, cache: CacheSettings) -> Self:
        """The backbone of some settings. The digest of its weights is remembered beside the caches: building it takes seconds.

        Raises:
            BackboneError: it cannot be built, or its weights do not fit.
        """
        origin = asdict(settings) | {package: version(package) for package in ("torch", *BACKBONE_PACKAGES)}
        origin["code"] = source_digest("models.backbones")
        if settings.weights not in (None, HUB) and Path(settings.weights).is_file():
            (origin["weights"],) = digests_for(cache).of([Path(settings.weights)])
        build = partial(build_backbone, settings)
        weights = remembered(Path(cache.folder) / "backbones.json", origin, lambda: weights_digest(build()))
        return cls(settings, weights, build)


def cache_features(
    dataset: SegmentationDataset,
    split_name: str,
    backbone: FrozenBackbone,
    settings: CacheSettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
    fill: Fill = fill_in_processes,
) -> Path:
    """The folder of a split's finished cache, which is built if it is not there.

    Args:
        progress: called with the images done and their total while building.
        fill: who extracts: processes of this machine, or others.

    Raises:
        DatasetError: a sample cannot be read.
        ValueError: an image is larger than the padded size.
        CacheError: features are not finite in the stored type, or a process that extracted them died.
        OSError: the disk is full or not writable.
    """
    build = plan_cache(dataset, split_name, backbone.weights, backbone.settings, settings)
    if build.is_finished():
        return build.folder
    extraction = Extraction(build, backbone.build().cpu(), backbone.settings, settings.batch_size)
    return fill(extraction, settings.workers, progress)


def refuse_leaks(
    dataset: SegmentationDataset,
    split_names: Sequence[str],
    settings: CacheSettings,
    pairs: Iterable[tuple[str, str]] | None = None,
) -> None:
    """Refuse splits that share image files, which is quick where their digests are remembered.

    Args:
        pairs: of them, that should share nothing; None for those of a sound data set, where a part is in its whole.

    Raises:
        DatasetError: they do, or an image cannot be read.
    """
    memory = digests_for(settings)
    refuse_shared(dataset.info, {name: dataset.split(name).image_digests(memory) for name in split_names}, pairs)


def refuse_shared(
    info: DatasetInfo, digests: Mapping[str, Sequence[str]], pairs: Iterable[tuple[str, str]] | None = None
) -> None:
    """Refuse splits, or folds, that share images, by digests of those of each.

    Args:
        pairs: as of ``refuse_leaks``.

    Raises:
        DatasetError: two of them do.
    """
    for leak in shared_images(digests, pairs):
        raise DatasetError(f"{info.name}, {leak.split}: {leak.text}")


def search_folds(dataset: SegmentationDataset, settings: CacheSettings) -> Sequence[Fold]:
    """What a search holds out of ``train`` in turn; empty where it has the splits ``search_train`` and ``search_val``.

    Raises:
        ValueError: the data set cannot be parted so, or labels are not cached in full: they are trained on and scored.
        DatasetError: an image lies in two folds, or cannot be read.
    """
    if dataset.folds is None:
        return ()
    if settings.label_stride != 1:
        raise UserError(f"cache.label_stride must be 1 with dataset.folds, got {settings.label_stride}.")
    train = dataset.split("train")
    folds = folds_of(len(train), train.groups, dataset.folds)
    refuse_shared(dataset.info, by_fold(folds, train.image_digests(digests_for(settings))))
    return folds


def by_fold(folds: Sequence[Fold], digests: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Those of the images that each holds out."""
    return {f"fold {number}": [digests[index] for index in fold.val] for number, fold in enumerate(folds, start=1)}


def digests_for(settings: CacheSettings) -> FileDigests:
    """Of images, labels and weights, remembered beside the caches that are made of them."""
    return FileDigests(Path(settings.folder) / MEMORY)


def plan_cache(
    dataset: SegmentationDataset, split_name: str, weights: str, backbone: BackboneSettings, settings: CacheSettings
) -> CacheBuild:
    """What is to be cached of a split.

    Args:
        weights: digest of the backbone's.

    Raises:
        DatasetError: a file cannot be read.
        ValueError: ``cache.label_stride`` does not divide the backbone's output stride, or images are larger than they are
            to be padded to.
    """
    split = dataset.split(split_name)
    is_training = split_name in TRAINING_SPLITS
    if backbone.output_stride % settings.label_stride:
        raise UserError(
            f"cache.label_stride must divide the output stride {backbone.output_stride}, got {settings.label_stride}."
        )
    highest, widest = split.extent_px()
    height_px = padded_px(settings.height_px or highest, backbone.output_stride)
    width_px = padded_px(settings.width_px or widest, backbone.output_stride)
    for name, padded, found in (("height_px", height_px, highest), ("width_px", width_px, widest)):
        if found > padded:
            raise UserError(f"cache.{name}: must be at least that of the images of {split_name}, {found}, got {padded}.")
    views = settings.views if is_training else 1
    key = CacheKey(
        dataset={
            "name": dataset.info.name,
            "split": split_name,
            "content": split.fingerprint(digests_for(settings)),
        },
        backbone={**asdict(backbone), "mean": list(backbone.mean), "std": list(backbone.std), "weights": weights},
        height_px=height_px,
        width_px=width_px,
        dtype=settings.dtype,
        label_stride=settings.label_stride if is_training else 1,
        views={"count": views, "scales": list(settings.scales) if views > 2 else []} if views > 1 else {},
        code=features_code(dataset, split),
    )
    samples: Samples = split
    if views > 1:
        augmentation = Augmentation(height_px, width_px, backbone.mean, dataset.info.ignore_label, settings.scales, flip=0.0)
        samples = Views(split, views, augmentation)
    return CacheBuild(Path(settings.folder), key, samples, dataset.info, max(1, SHARD_PX // (height_px * width_px)))


def features_code(*data: object) -> str:
    """Of what reads the ``data``, augments it, runs the backbone and stores what that gives."""
    modules = {"training.extractor", "data.cache.views", *(type(part).__module__ for part in data)}
    return "-".join([source_digest(*sorted(modules)), *(version(package) for package in BACKBONE_PACKAGES)])
