"""Full training: the best model is kept, and an interruption costs no more than the steps since the last validation."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from data.datasets import SegmentationDataset
from models.backbones import BackboneSettings
from models.spec import CellSpec
from training.end_to_end import Validation, end_to_end
from training.retrain_settings import RetrainSettings
from training.workers import ALONE, Workers

STATE_FILE = "state.safetensors"


def retrain(
    cell: CellSpec,
    dataset: SegmentationDataset,
    backbone: BackboneSettings,
    settings: RetrainSettings,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    workers: Workers = ALONE,
) -> Iterator[Validation]:
    """``end_to_end`` with the best model on ``val`` kept in ``folder``.

    Args:
        folder: receives ``model.safetensors`` and ``config.json`` of the best model and ``scores.json`` beside them; a training
            that was interrupted goes on from its ``state.safetensors``.
    """
    for reached in end_to_end(cell, dataset, backbone, settings, seed, folder / STATE_FILE, progress, workers):
        if reached.is_best and reached.model is not None:
            reached.model.save_pretrained(folder)
            record = {"iteration": reached.iteration, "digest": cell.digest, **asdict(reached.scores)}
            (folder / "scores.json").write_text(json.dumps(record, indent=2) + "\n")
        yield reached
