"""``dpc cache``: extract the backbone's features once, for every trial."""

from rich.console import Console

from search.session.caches import build_caches
from search.settings.cache import CacheCommandSettings


def run(settings: CacheCommandSettings) -> int:
    """Build what is missing, verify what is there, and say where it lies."""
    console = Console(highlight=False)
    caches = build_caches(settings.images, settings.splits, settings.workplace, console, written={})
    for split, cache in caches.items():
        shape = f"{cache.channels} x {cache.height} x {cache.width}"
        console.print(
            f"{split:<14}{len(cache):>6} images of {shape}, {cache.bytes / 1e6:.0f} MB, verified: {cache.folder}",
            soft_wrap=True,
        )
    return 0
