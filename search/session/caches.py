"""The feature caches that a command works on: built where they are missing, by this machine or by the cluster's nodes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from data.cache.feature_cache import FeatureCache
from data.cache.files import MANIFEST
from data.cache.stored_copy import fetch_from_store
from data.datasets.contract import SPLITS, DatasetError, DatasetInfo
from data.datasets.label_questions import what_is_absent, why_unscorable
from data.folds import Fold
from data.store import Store
from search.running.nodes.cache_tasks import fill_by_tasks
from search.session.backbone import backbone_of
from search.session.hints import naming_check_data
from search.session.joining import join_cluster
from search.settings.groups import Images, Workplace
from search.views.progress_bar import progress_bar
from training.extraction import Fill, FrozenBackbone, by_fold, cache_features, refuse_leaks, refuse_shared
from training.extractor import Extraction, fill_in_processes


def build_caches(
    images: Images,
    splits: Sequence[str],
    workplace: Workplace,
    console: Console,
    written: Mapping[str, Path],
    folds: Sequence[Fold] = (),
    reread: bool = False,
) -> dict[str, FeatureCache]:
    """The feature caches of some splits, built where they are missing, and verified.

    Args:
        written: folders besides that of the caches that the nodes of a cluster must be able to write to, by setting.
        folds: of train, each of which is to score cells.
        reread: every byte, also of files that nobody wrote to since they were verified.

    Raises:
        DatasetError: the data set has errors; it names the command that shows them all.
        SharedFolderError: a node of the cluster does not see, or cannot use, what all must share.
    """
    dataset, settings = images.dataset, images.cache
    backbone = FrozenBackbone.of(backbone_of(images, console), settings)
    shared = {**written, "cache.folder": Path(settings.folder)}
    fill: Fill = _by_tasks(images, workplace) if join_cluster(workplace, shared, {}) else fill_in_processes
    if workplace.is_cluster and workplace.bucket:
        fill = partial(_fetched_or_filled, workplace.bucket / "caches", console)
    caches = {}
    with naming_check_data(images.overrides, splits):
        refuse_leaks(dataset, splits, settings)
        for split in splits:
            for line in dataset.split(split).warnings:
                console.print(f"Warning: {line}", soft_wrap=True, markup=False)
            with progress_bar(console, f"features of {split}") as progress:
                folder = cache_features(dataset, split, backbone, settings, progress, fill)
            caches[split] = FeatureCache(folder)
            caches[split].verify(reread=reread)
            _check_labels(split, caches[split], dataset.info, console)
        refuse_shared(dataset.info, {split: cache.image_digests for split, cache in caches.items()})
        _check_folds(folds, caches, dataset.info)
    return caches


def _check_labels(split: str, cache: FeatureCache, info: DatasetInfo, console: Console) -> None:
    """Say which classes a split lacks, as they are called now: they may have been renamed since their labels were cached.

    Raises:
        DatasetError: it is to be scored and fewer than two classes are labelled.
    """
    pixels = cache.label_pixels
    labelled = dict(zip(info.class_names, pixels, strict=False)), pixels[info.ignore_label], info
    if split in SPLITS and (unscorable := why_unscorable(*labelled)):
        raise DatasetError(f"{info.name}, {split}: {unscorable}")
    if absent := what_is_absent(*labelled):
        console.print(f"Warning: {split}: {absent}", soft_wrap=True, markup=False)


def _check_folds(folds: Sequence[Fold], caches: Mapping[str, FeatureCache], info: DatasetInfo) -> None:
    """See that each fold can score per cell.

    Raises:
        DatasetError: two hold the same image, or one shows fewer than two classes.
    """
    if not folds:
        return
    train = caches["train"]
    refuse_shared(info, by_fold(folds, train.image_digests))
    for number, fold in enumerate(folds, start=1):
        shown = train.labelled(fold.val)
        pixels = {name: int(index in shown) for index, name in enumerate(info.class_names)}
        if unscorable := why_unscorable(pixels, 0, info):
            raise DatasetError(
                f"{info.name}, fold {number} of train: {unscorable} Give fewer dataset.folds, or say by dataset.group "
                "which images belong together (dataset=folder)."
            )


def _fetched_or_filled(
    caches: Store, console: Console, extraction: Extraction, workers: int | None, progress: Callable[[int, int], None]
) -> Path:
    """``fill_in_processes``, but for a cache that a driver whose disk is gone has brought to the store."""
    folder = extraction.build.folder
    if (caches / folder.name).read(MANIFEST) is None:
        return fill_in_processes(extraction, workers, progress)
    fetch_from_store(caches / folder.name, folder)
    console.print(f"Fetched from the store: {caches / folder.name}", soft_wrap=True, markup=False)
    return folder


def _by_tasks(images: Images, workplace: Workplace) -> Fill:
    resources, retries, max_pending = workplace.resources, workplace.faults.retries, workplace.ray.max_pending
    root = {"dataset.root": images.root} if images.root else {}

    def fill(extraction: Extraction, workers: int | None, progress: Callable[[int, int], None]) -> Path:
        join_cluster(workplace, {}, root)  # a finished cache needs no images
        return fill_by_tasks(extraction, workers, progress, resources, retries, max_pending)

    return fill
