"""What ``dpc check-data`` is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.datasets.contract import SegmentationDataset
from search.config import Config
from search.settings.groups import Count, Processes
from search.settings.places import OutputFolder


@dataclass(frozen=True, kw_only=True)
class CheckDataSettings:
    """A data set to be read.

    Attributes:
        workers: processes that read.
        samples: pictures of each split on the contact sheet.
    """

    dataset: SegmentationDataset
    workers: Processes
    samples: Count
    splits: Sequence[str]
    output_dir: OutputFolder

    def __post_init__(self) -> None:
        if not self.splits:
            raise ValueError("splits: at least one is needed, such as splits=[train,val].")

    @property
    def folder(self) -> Path:
        return self.output_dir / f"check-{self.dataset.info.name}"


def read(config: Config) -> CheckDataSettings:
    """The settings of ``dpc check-data``. Raises a ConfigError for what is wrong."""
    return config.read(CheckDataSettings)
