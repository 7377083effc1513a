"""What ``dpc retrain`` is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

from data.datasets.contract import check_split
from models.spec import CellSpec
from search.annotations import HERE
from search.config import Config
from search.config_errors import ConfigError
from search.deciding.space import AnyCell, CellSpace
from search.settings.groups import Count, Images, Seed, Workplace, search_named
from search.settings.named_cells import read_cell
from search.settings.places import FolderName
from search.tracking.database import check_tables
from search.tracking.settings import Tracking, check_model_name
from search.wording import percent
from training.settings import RetrainSettings


@dataclass(frozen=True)
class Chosen:
    """A cell, and where it is from."""

    cell: CellSpec
    origin: str


@dataclass(frozen=True)
class InRun:
    """The cell of an MLflow run, which the tracker is asked for once the command runs."""

    run: str


@dataclass(frozen=True, kw_only=True)
class RetrainCommandSettings:
    """A cell, and how it is trained end to end.

    Attributes:
        space: that the cell is of.
        name: of the folder in ``output_dir`` that the model is written to.
        final_split: of the data set, which selects nothing and scores the kept model at the end; None for none.
        data_parallel: processes of the cluster that share each batch; 1 trains here.
        register: a name in MLflow's model registry for the best model.
        recorded: what the run tells people.
    """

    source: Chosen | InRun
    space: CellSpace | AnyCell
    name: FolderName
    training: RetrainSettings
    seed: Seed
    final_split: str | None
    data_parallel: Count
    register: str | None
    images: Annotated[Images, HERE]
    workplace: Annotated[Workplace, HERE]
    tracking: Tracking
    recorded: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_tables(self.tracking.resolved(self.workplace.output_dir))
        self.training.check(self.images.backbone.output_stride, self.data_parallel)
        for setting in ("train_split", "val_split"):
            check_split(self.images.dataset, f"training.{setting}", getattr(self.training, setting))
        if self.final_split in (self.training.train_split, self.training.val_split):
            raise ValueError(f"final_split: must be a split that neither trains nor validates, got {self.final_split}.")
        if self.register is None:
            return
        check_model_name(self.register)
        if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
            raise ValueError("register: a registered model is an ONNX file; pip install '.[export]' in the checkout first.")


def read(config: Config) -> RetrainCommandSettings:
    """The settings of ``dpc retrain``. Raises a ConfigError for what is wrong."""
    space = config.build("space", CellSpace | AnyCell)
    source = _source(config, space)
    images = config.read(Images)
    return config.read(
        RetrainCommandSettings,
        source=source,
        space=space,
        images=images,
        name=config.optional("name", FolderName) or images.dataset.info.name,
        recorded=config.plain("seed", "training", "dataset"),
    )


def _source(config: Config, space: CellSpace | AnyCell) -> Chosen | InRun:
    """The cell to train, of exactly one of ``from``, ``run`` and ``cell``."""
    given = [key for key in ("from", "run", "cell") if key in config]
    match given:
        case ["cell"]:
            name = config.value("cell", str)
            return Chosen(read_cell(name, space), f"cell {name}")
        case ["run"]:
            return InRun(config.value("run", str))
        case ["from"]:
            return _ranked(config, space)
    raise ConfigError(
        "cell: give one of from=<search> (with rank=1), run=<MLflow run id> or cell=<name or JSON file>, "
        f"got {' and '.join(given) or 'none'}."
    )


def _ranked(config: Config, space: CellSpace | AnyCell) -> Chosen:
    rank, search = config.value("rank", int), search_named(config, "from", space.operator_kinds)
    scored = search.record.scored()
    if not 1 <= rank <= len(scored):
        raise ConfigError(f"rank: search {search.name} has ranks 1 to {len(scored)}, got {rank}.")
    trial = scored[rank - 1]
    return Chosen(trial.cell, f"rank {rank} of search {search.name} ({percent(trial.miou)} mIoU by proxy)")
