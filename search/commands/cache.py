"""``dpc cache``: extract the backbone's features once, for every trial."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data.datasets import DatasetError, SegmentationDataset
from data.feature_cache import FeatureCache
from models.backbones import BackboneSettings, build_backbone
from search.commands.hints import overrides_of, program
from search.config import Config
from training.extraction import CacheSettings, cache_features, refuse_leaks


def run(config: Config) -> int:
    """Build what is missing, verify what is there, and say where it lies."""
    console = Console(highlight=False)
    for split, cache in build_caches(config, config.value("splits", list[str]), console).items():
        shape = f"{cache.channels} x {cache.height} x {cache.width}"
        console.print(
            f"{split:<14}{len(cache):>6} images of {shape}, {cache.bytes / 1e6:.0f} MB, verified: {cache.folder}",
            soft_wrap=True,
        )
    return 0


def build_caches(config: Config, splits: Sequence[str], console: Console) -> dict[str, FeatureCache]:
    """The feature caches of some splits, built where they are missing, and verified.

    Raises:
        DatasetError: the data set has errors; it names the command that shows them all.
    """
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    backbone_settings = config.build("backbone", BackboneSettings)
    settings = config.build("cache", CacheSettings)
    backbone = build_backbone(backbone_settings)
    caches = {}
    try:
        refuse_leaks(dataset, splits, settings)
        for split in splits:
            for line in dataset.split(split).warnings:
                console.print(f"Warning: {line}", soft_wrap=True)
            with progress_bar(console, f"features of {split}") as progress:
                folder = cache_features(dataset, split, backbone, backbone_settings, settings, progress)
            caches[split] = FeatureCache(folder.resolve())
            caches[split].verify()
    except DatasetError as error:
        command = shlex.join([program("dpc"), "check-data", *overrides_of(config, "experiment", "dataset")])
        raise DatasetError(f"{error} See all that is wrong with: {command}") from error
    return caches


class LazyBar:
    """A progress bar that appears with the first news."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar, self._title = bar, title

    def __call__(self, done: int, total: int) -> None:
        if not self._bar.tasks:
            self._bar.add_task(self._title, total=total)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, completed=done)


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[LazyBar]:
    """A progress bar for a function that reports images done and in all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console)
    try:
        yield LazyBar(bar, title)
    finally:
        if bar.tasks:
            bar.stop()
