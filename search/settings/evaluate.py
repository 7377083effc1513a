"""What ``dpc evaluate`` is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.datasets.contract import SegmentationDataset, check_split
from data.system.outputs import check_free
from search.config import Config
from search.deciding.space import AnyCell, CellSpace
from search.settings.checkpoint import SavedModel
from search.settings.places import OutputFile, Picture
from training.settings import Inference


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """A retrained model, and what it is scored on.

    Attributes:
        space: whose kinds of operator the model's cell may hold.
        json: the file for the scores, and ``picture`` for the confusion matrix; None for none.
        recorded: settings that the scores are kept with.
    """

    dataset: SegmentationDataset
    inference: Inference
    split: str
    json: OutputFile | None
    picture: Picture | None
    checkpoint: SavedModel
    space: CellSpace | AnyCell
    recorded: Mapping[str, Any]
    overwrite: bool

    def __post_init__(self) -> None:
        check_split(self.dataset, "split", self.split)
        for setting, file in (("json", self.json), ("picture", self.picture)):
            if file:
                check_free(setting, file, "evaluate", self.overwrite)


def read(config: Config) -> EvaluateSettings:
    """The settings of ``dpc evaluate``. Raises a ConfigError for what is wrong."""
    return config.read(EvaluateSettings, recorded=config.plain("checkpoint", "inference"))
