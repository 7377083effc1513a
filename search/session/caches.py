"""The feature caches that a command works on: built where they are missing, by this machine or by the cluster's nodes."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from data.cache.feature_cache import FeatureCache
from data.cache.settings import CacheSettings
from data.datasets.contract import DatasetError, SegmentationDataset
from models.settings import BackboneSettings
from search.config import Config
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cache_tasks import fill_by_tasks
from search.running.resources import Resources
from search.session.hints import overrides_of, program
from search.session.nodes import join_cluster
from search.session.progress import progress_bar
from training.extraction import Fill, FrozenBackbone, cache_features, refuse_leaks
from training.extractor import Extraction, fill_in_processes


def build_caches(
    config: Config, splits: Sequence[str], console: Console, written: Sequence[str] = ("cache.folder",)
) -> dict[str, FeatureCache]:
    """The feature caches of some splits, built where they are missing, and verified.

    Args:
        written: settings of folders that the nodes of a cluster must be able to write to.

    Raises:
        DatasetError: the data set has errors; it names the command that shows them all.
        SharedFolderError: a node of the cluster does not see, or cannot use, what all must share.
    """
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    settings = config.build("cache", CacheSettings)
    backbone = FrozenBackbone.of(config.build("backbone", BackboneSettings), settings)
    fill = _by_tasks(config) if join_cluster(config, written) else fill_in_processes
    caches = {}
    try:
        refuse_leaks(dataset, splits, settings)
        for split in splits:
            for line in dataset.split(split).warnings:
                console.print(f"Warning: {line}", soft_wrap=True)
            with progress_bar(console, f"features of {split}") as progress:
                folder = cache_features(dataset, split, backbone, settings, progress, fill)
            caches[split] = FeatureCache(folder.resolve())
            caches[split].verify()
    except DatasetError as error:
        command = shlex.join([program("dpc"), "check-data", *overrides_of(config, "experiment", "dataset")])
        raise DatasetError(f"{error} See all that is wrong with: {command}") from error
    return caches


def _by_tasks(config: Config) -> Fill:
    resources, faults = config.build("resources", Resources), config.build("faults", FaultTolerance)

    def fill(extraction: Extraction, workers: int | None, progress: Callable[[int, int], None]) -> Path:
        join_cluster(config, read=("dataset.root",))  # a finished cache needs no images
        return fill_by_tasks(extraction, workers, progress, resources, faults.retries, config.value("ray.max_pending", int))

    return fill
