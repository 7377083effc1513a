"""What ``dpc cell`` is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from data.system.outputs import check_free
from models.cost import FeatureShape
from models.spec import CellSpec
from search.config import Config
from search.deciding.space import AnyCell, CellSpace
from search.settings.groups import Count
from search.settings.named_cells import read_cell
from search.settings.places import Picture


@dataclass(frozen=True, kw_only=True)
class CellCommandSettings:
    """One cell or two, and what they read.

    Attributes:
        cells: by the name or file that they were given by.
        picture: the file of a diagram; None for none.
    """

    format: Literal["text", "json"]
    picture: Picture | None
    features: FeatureShape
    filters: Count
    cells: Mapping[str, CellSpec]
    overwrite: bool

    def __post_init__(self) -> None:
        if self.picture:
            check_free("picture", self.picture, "cell", self.overwrite)
        if not 1 <= len(self.cells) <= 2:
            raise ValueError(f"cell: must be one cell, or two different ones to compare, got {len(self.cells)}.")


def read(config: Config) -> CellCommandSettings:
    """The settings of ``dpc cell``. Raises a ConfigError for what is wrong."""
    space = config.build("space", CellSpace | AnyCell)
    given = config.value("cell", str | list[str])  # type: ignore[arg-type]
    names = [given] if isinstance(given, str) else given
    return config.read(CellCommandSettings, cells={name: read_cell(name, space) for name in names})
