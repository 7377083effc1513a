"""What ``dpc export`` is told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from data.system.outputs import check_free
from search.config import Config
from search.deciding.space import AnyCell, CellSpace
from search.settings.checkpoint import SavedModel
from search.settings.places import OutputFile


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """A retrained model, and the file that it becomes.

    Attributes:
        space: whose kinds of operator the model's cell may hold.
        height_px: of the images, and ``width_px``, where every image has the same size.
    """

    checkpoint: SavedModel
    space: CellSpace | AnyCell
    output: OutputFile
    format: Literal["onnx", "torch"]
    height_px: Annotated[int, Ge(2)] | None
    width_px: Annotated[int, Ge(2)] | None
    overwrite: bool

    def __post_init__(self) -> None:
        if (self.height_px is None) != (self.width_px is None):
            raise ValueError("height_px and width_px: give both, or none for images of any size.")
        check_free("output", self.output, "export", self.overwrite)

    @property
    def size_px(self) -> tuple[int, int] | None:
        return None if self.height_px is None or self.width_px is None else (self.height_px, self.width_px)


def read(config: Config) -> ExportSettings:
    """The settings of ``dpc export``. Raises a ConfigError for what is wrong."""
    return config.read(ExportSettings)
