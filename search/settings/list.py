"""What ``dpc list`` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search.config import Config
from search.settings.places import check_searches


@dataclass(frozen=True, kw_only=True)
class ListSettings:
    """A folder of searches."""

    output_dir: Path
    format: Literal["text", "json"]

    def __post_init__(self) -> None:
        check_searches(self.output_dir)


def read(config: Config) -> ListSettings:
    """The settings of ``dpc list``. Raises a ConfigError for what is wrong."""
    return config.read(ListSettings)
