"""What ``dpc cache`` is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from data.datasets.contract import check_split
from search.annotations import HERE
from search.config import Config
from search.settings.groups import Images, Workplace


@dataclass(frozen=True, kw_only=True)
class CacheCommandSettings:
    """The splits whose features are cached; None for those that a search reads."""

    splits: Sequence[str] | None
    images: Annotated[Images, HERE]
    workplace: Annotated[Workplace, HERE]

    def __post_init__(self) -> None:
        for name in self.splits or ():
            check_split(self.images.dataset, "splits", name)


def read(config: Config) -> CacheCommandSettings:
    """The settings of ``dpc cache``. Raises a ConfigError for what is wrong."""
    return config.read(CacheCommandSettings)
