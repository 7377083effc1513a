"""What ``dpc track`` is told."""

from dataclasses import dataclass
from pathlib import Path

from search.config import Config
from search.deciding.space import CellSpace
from search.journal.folder import journal_in
from search.settings.places import FolderName, OutputFolder
from search.tracking.database import check_tables
from search.tracking.settings import Tracking


@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """A search, and the tracker that is brought up to date with it."""

    name: FolderName
    output_dir: OutputFolder
    space: CellSpace
    tracking: Tracking

    def __post_init__(self) -> None:
        _ = self.journal
        check_tables(self.tracking.resolved(self.output_dir))

    @property
    def journal(self) -> Path:
        return journal_in(self.output_dir / self.name)


def read(config: Config) -> TrackSettings:
    """The settings of ``dpc track``. Raises a ConfigError for what is wrong."""
    return config.read(TrackSettings)
