"""``dpc cache``: extract the backbone's features once, for every trial."""

from data.datasets.contract import search_splits
from search.session.caches import build_caches
from search.settings.cache import CacheCommandSettings
from search.views.console import plain_console
from training.extraction import search_folds


def run(settings: CacheCommandSettings) -> int:
    """Build what is missing, verify what is there, and say where it lies."""
    console = plain_console()
    dataset = settings.images.dataset
    folds = search_folds(dataset, settings.images.cache) if settings.splits is None else ()
    splits = settings.splits or search_splits(dataset)
    caches = build_caches(settings.images, splits, settings.workplace, console, written={}, folds=folds, reread=True)
    for split, cache in caches.items():
        shape = f"{cache.channels} x {cache.height} x {cache.width}"
        console.print(
            f"{split:<14}{len(cache):>6} images of {shape}, {cache.bytes / 1e6:.0f} MB, verified: {cache.folder}",
            soft_wrap=True,
        )
    return 0
