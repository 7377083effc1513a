"""What ``dpc cell`` is told."""

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
class CellSettings:
    """A cell, and what it reads.

    Attributes:
        picture: the file of a diagram; None for none.
    """

    format: Literal["text", "json"]
    picture: Picture | None
    features: FeatureShape
    filters: Count
    cell: CellSpec
    overwrite: bool

    def __post_init__(self) -> None:
        if self.picture:
            check_free("picture", self.picture, "cell", self.overwrite)


def read(config: Config) -> CellSettings:
    """Raises a ConfigError for what is wrong."""
    cell = read_cell(config.value("cell", str), config.build("space", CellSpace | AnyCell))
    return config.read(CellSettings, cell=cell)
