"""What ``dpc rerank`` is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from search.annotations import HERE, At
from search.config import Config
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.findings.two_rankings import best_cells
from search.journal.folder import LoadedSearch
from search.journal.record import TrialRecord
from search.overrides import Overrides
from search.settings import report
from search.settings.groups import AcceptedCode, Count, Images, Seed, Workplace, search_named
from search.settings.places import FolderName
from search.tracking.database import check_tables
from search.tracking.settings import Tracking
from training.settings import RetrainSettings


@dataclass(frozen=True, kw_only=True)
class RerankSettings:
    """The best cells of a search, to be trained end to end.

    Attributes:
        top: how many of its leaderboard.
        seeds: trainings of each cell.
        confirm: further trainings of the first, kept out of selection.
        retry_failed: whether trainings that failed before are tried again.
        search: whose cells they are.
        fingerprint: the settings that a resume must find as they were.
        recorded: what the journals tell people.
    """

    source: Annotated[FolderName, At("from")]
    label: FolderName
    top: Count
    seeds: Count
    confirm: Annotated[int, Ge(0)]
    seed: Seed
    retry_failed: bool
    space: CellSpace
    scheduler: Scheduler
    training: RetrainSettings
    images: Annotated[Images, HERE]
    workplace: Annotated[Workplace, HERE]
    accept: AcceptedCode
    tracking: Tracking
    overrides: Overrides
    search: LoadedSearch
    fingerprint: Mapping[str, Any]
    recorded: Mapping[str, Any]
    report: report.ReportSettings

    def __post_init__(self) -> None:
        check_tables(self.tracking.resolved(self.workplace.output_dir))
        self.workplace.check_copies(self.images.cache)
        if not self.chosen:
            raise ValueError(f"from: no cell of search {self.source} has a score yet.")

    @property
    def folder(self) -> Path:
        return self.search.folder / self.label

    @property
    def chosen(self) -> Sequence[tuple[int, TrialRecord]]:
        """The cells' ranks and trials in the search."""
        return best_cells(self.search.record, self.top)


def read(config: Config) -> RerankSettings:
    """The settings of ``dpc rerank``. Raises a ConfigError for what is wrong."""
    source, space = config.value("from", FolderName), config.build("space", CellSpace)
    return config.read(
        RerankSettings,
        search=search_named(config, "from", space.operator_kinds),
        fingerprint=config.plain("training", "scheduler"),
        recorded=config.plain("training", "dataset"),
        report=report.of_search(config, source),
    )
