"""What ``dpc list`` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search.config import Config


@dataclass(frozen=True, kw_only=True)
class ListSettings:
    """A folder of searches."""

    output_dir: Path
    format: Literal["text", "json"]

    def __post_init__(self) -> None:
        if not self.output_dir.is_dir():
            raise ValueError(f"output_dir: must be a folder with searches, there is none at {self.output_dir}.")


def read(config: Config) -> ListSettings:
    """Raises a ConfigError for what is wrong."""
    return config.read(ListSettings)
