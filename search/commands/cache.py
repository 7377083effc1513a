"""``dpc cache``: extract the backbone's features once, for every trial."""

from rich.console import Console

from search.config import Config
from search.session.caches import build_caches


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
