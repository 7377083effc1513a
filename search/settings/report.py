"""What ``dpc report`` is told, and what a search tells it that renews its page."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from models.spec import CellSpec
from search.config import Config, load
from search.deciding.space import AnyCell, CellSpace
from search.journal.folder import journal_in
from search.overrides import Overrides
from search.settings.groups import SHARED, Count
from search.settings.named_cells import read_cell
from search.settings.places import FolderName, OutputFolder


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The page of a search.

    Attributes:
        rows: of the leaderboard.
        good_share: the part of the leaderboard whose operators are compared with those of all cells.
        landmarks: cells to compare costs with, and their mIoU on the search's proxy task where that was measured.
        overrides: that the command to retrain a cell takes from here.
        figures: a folder for every figure of the page as a file of ``format``, ``width`` inches wide; None for none.
    """

    name: FolderName
    output_dir: OutputFolder
    space: CellSpace
    rows: Count
    good_share: Annotated[float, Gt(0), Le(1)]
    landmarks: Mapping[str, Annotated[float, Ge(0), Le(1)] | None]
    overrides: Overrides
    figures: OutputFolder | None = None
    format: Literal["pdf", "svg", "png"] = "pdf"
    width: Annotated[float, Ge(2.5), Le(20)] = 7.2

    def __post_init__(self) -> None:
        _ = self.landmark_cells

    @property
    def folder(self) -> Path:
        return self.output_dir / self.name

    @cached_property
    def landmark_cells(self) -> Mapping[str, CellSpec]:
        return {name: read_cell(name, AnyCell(), f"landmarks.{name}") for name in self.landmarks}


def read(config: Config) -> ReportSettings:
    """The settings of ``dpc report``. Raises a ConfigError for what is wrong."""
    settings = config.read(ReportSettings)
    journal_in(settings.folder)
    return settings


def of_search(config: Config, name: str) -> ReportSettings:
    """The report of the search ``name``, as the settings of another command find it."""
    shared = config.overrides.of(*SHARED)
    return load("report", [f"name={name}", *shared], config.overrides.config_dir).read(ReportSettings)
