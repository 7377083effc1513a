"""``dpc cache``: extract the backbone's features once, for every trial."""

from rich.console import Console

from data.cache.settings import CacheSettings
from data.datasets.contract import SegmentationDataset, search_splits
from search.config import Config
from search.session.caches import build_caches
from training.extraction import search_folds


def run(config: Config) -> int:
    """Build what is missing, verify what is there, and say where it lies."""
    console = Console(highlight=False)
    splits = config.optional("splits", list[str])
    if splits is None:
        dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
        search_folds(dataset, config.build("cache", CacheSettings))
        splits = [*search_splits(dataset)]
    for split, cache in build_caches(config, splits, console).items():
        shape = f"{cache.channels} x {cache.height} x {cache.width}"
        console.print(
            f"{split:<14}{len(cache):>6} images of {shape}, {cache.bytes / 1e6:.0f} MB, verified: {cache.folder}",
            soft_wrap=True,
        )
    return 0
