"""What ``dpc import-weights`` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from data.system.outputs import check_free
from models.spec import CellSpec
from search.config import Config
from search.deciding.space import AnyCell
from search.settings.named_cells import read_cell
from search.settings.places import OutputFolder


def _there(path: Path) -> Path:
    """The checkpoint that is named with or without ``.index``."""
    path = path.with_suffix("") if path.suffix == ".index" else path
    if not path.with_name(f"{path.name}.index").is_file():
        raise ValueError(f"no file {path}.index; expected is the name before .index, such as model.ckpt-30000.")
    return path


@dataclass(frozen=True, kw_only=True)
class ImportWeightsSettings:
    """A checkpoint of DeepLab's, and where its model goes.

    Attributes:
        checkpoint: without ``.index``.
        dpc, aspp: what the head is, if it is of that kind.
    """

    checkpoint: Annotated[Path, AfterValidator(_there)]
    output: OutputFolder
    dpc: CellSpec
    aspp: CellSpec
    overwrite: bool

    def __post_init__(self) -> None:
        check_free("output", self.output, "import-weights", self.overwrite)


def read(config: Config) -> ImportWeightsSettings:
    """The settings of ``dpc import-weights``. Raises a ConfigError for what is wrong."""
    given = config.optional("cell", str)
    dpc, aspp = (read_cell(given or name, AnyCell()) for name in ("dpc_top1", "aspp"))
    return config.read(ImportWeightsSettings, dpc=dpc, aspp=aspp)
