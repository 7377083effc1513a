"""What ``dpc show`` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.store import Store
from search.config import Config
from search.journal.folder import journal_in
from search.overrides import Overrides
from search.settings.groups import Count
from search.settings.places import FolderName, check_searches
from search.tracking.settings import Tracking


@dataclass(frozen=True, kw_only=True)
class ShowSettings:
    """A search that is looked at.

    Attributes:
        rows: of the leaderboard.
        watch: whether it is shown anew until it ends.
        store: the bucket that it keeps itself in; None where its folder is here.
        overrides: that the next command takes from here.
    """

    name: FolderName
    output_dir: Path
    rows: Count
    watch: bool
    store: str | None
    format: Literal["text", "json"]
    tracking: Tracking
    overrides: Overrides

    def __post_init__(self) -> None:
        if self.watch and self.format == "json":
            raise ValueError("watch: is for people; format=json shows a search once.")
        if self.bucket is None:
            check_searches(self.output_dir)
            journal_in(self.folder)

    @property
    def folder(self) -> Path:
        return self.output_dir / self.name

    @property
    def bucket(self) -> Store | None:
        return Store(self.store) if self.store else None


def read(config: Config) -> ShowSettings:
    """The settings of ``dpc show``. Raises a ConfigError for what is wrong."""
    return config.read(ShowSettings)
