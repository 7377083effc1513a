"""The proxy task: how good is a cell, told by a short training on cached backbone features.

Chen et al. 2018, section 3.3: a small pre-trained backbone, its features cached, only the cell on top trained.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.feature_cache import FeatureCache, Window
from models.dpc import classifier_on
from models.operators import CellSettings
from models.spec import CellSpec
from training.checkpoint import load_checkpoint, save_checkpoint
from training.features import Features, features_on
from training.loop import Batch, sample_at, train
from training.losses import segmentation_loss, upsample_logits
from training.metrics import ConfusionMatrix
from training.optim import OptimizerSettings
from training.score import RungScore

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The budget and settings of one proxy trial.

    Attributes:
        rungs: iterations after which the cell is scored on the whole validation split; the last is the full budget.
        batch_size: images a step.
        crop_px: side of the random square crop, a multiple of the output stride plus one; None for whole images. Crops are
            cut out of the cached features of the whole image.
        eval_batch_size: images a validation step; it changes no result.
    """

    rungs: Sequence[int]
    batch_size: int = 8
    crop_px: int | None = None
    eval_batch_size: int = 8
    cell: CellSettings = field(default_factory=CellSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)

    def __post_init__(self) -> None:
        rungs = tuple(self.rungs)
        if not rungs or rungs[0] < 1 or any(later <= earlier for earlier, later in pairwise(rungs)):
            raise ValueError(f"proxy.rungs must be ascending iterations of at least 1, got {list(rungs)}.")
        if self.batch_size < 2:
            raise ValueError(f"proxy.batch_size must be at least 2 for batch norm, got {self.batch_size}.")
        if self.eval_batch_size < 1:
            raise ValueError(f"proxy.eval_batch_size must be at least 1, got {self.eval_batch_size}.")
        stride = self.cell.output_stride
        if self.crop_px is not None and (self.crop_px <= stride or self.crop_px % stride != 1):
            raise ValueError(f"proxy.crop_px must be a multiple of {stride} plus 1, or null, got {self.crop_px}.")


@dataclass(frozen=True)
class ProxyTask:
    """Scores a cell: a plain callable over two finished feature caches."""

    train_folder: Path
    val_folder: Path
    settings: ProxySettings

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """Train ``cell`` and score it at each rung. On one CPU thread the same arguments give the same bits.

        Args:
            seed: of initial weights, batch order, crops and dropout.
            checkpoint: where the state is written after each rung but the last. Where it exists, the scores of earlier
                rungs are told again and training goes on from there.

        Raises:
            DivergedError: the loss is no longer a number.
            ValueError: no pixel of the validation split has a label.
        """
        started_s = time.monotonic()
        torch.manual_seed(seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = classifier_on(cell, self._train.channels, self._train.info.num_classes, self.settings.cell).to(device)
        optimizer = self.settings.optimizer.build(model.parameters())
        state = load_checkpoint(checkpoint, model, optimizer) if checkpoint else None
        scores = [RungScore(**score) for score in state["scores"]] if state else []
        yield from scores
        before_s = scores[-1].elapsed_s if scores else 0.0
        val_features = features_on(self._val, device)
        for progress in train(
            model,
            batch_at=partial(self._batch_at, features_on(self._train, device), seed),
            loss_of=partial(segmentation_loss, ignore_label=self._train.info.ignore_label),
            optimizer=optimizer,
            settings=self.settings.optimizer,
            seed=seed,
            stops=tuple(self.settings.rungs),
            start=scores[-1].iteration if scores else 0,
        ):
            miou = self._validate(model, val_features)
            elapsed_s = before_s + time.monotonic() - started_s
            scores.append(RungScore(len(scores) + 1, progress.iteration, miou, progress.loss, elapsed_s))
            if checkpoint and len(scores) < len(self.settings.rungs):
                try:
                    save_checkpoint(checkpoint, model, optimizer, {"scores": [asdict(score) for score in scores]})
                except OSError as error:  # it costs a resume some minutes, but no score
                    _LOG.warning("no checkpoint: %s", error)
            yield scores[-1]

    def _batch_at(self, features: Features, seed: int, iteration: int) -> Batch:
        first = iteration * self.settings.batch_size
        indices = [sample_at(first + slot, len(self._train), seed) for slot in range(self.settings.batch_size)]
        return features.batch(indices, self._windows(seed, iteration))

    def _windows(self, seed: int, iteration: int) -> Sequence[Window] | None:
        """Each image's random crop, on the features' grid; None takes whole images."""
        stride, crop_px = self.settings.cell.output_stride, self.settings.crop_px
        if crop_px is None:
            return None
        side = (crop_px - 1) // stride + 1
        if side > min(self._train.height, self._train.width):
            raise ValueError(
                f"proxy.crop_px: {crop_px} is larger than the cached images, "
                f"{stride * (self._train.width - 1) + 1}x{stride * (self._train.height - 1) + 1} pixels."
            )
        rng = np.random.default_rng([seed, iteration, 1])
        tops = rng.integers(0, self._train.height - side + 1, self.settings.batch_size)
        lefts = rng.integers(0, self._train.width - side + 1, self.settings.batch_size)
        return [(top, left, side) for top, left in zip(tops.tolist(), lefts.tolist(), strict=True)]

    @torch.inference_mode()
    def _validate(self, model: nn.Module, features: Features) -> float:
        model.eval()
        matrix = ConfusionMatrix(self._val.info.num_classes, self._val.info.ignore_label)
        for start in range(0, len(self._val), self.settings.eval_batch_size):
            stop = min(start + self.settings.eval_batch_size, len(self._val))
            features_BCHW, labels_BHW = features.batch(range(start, stop))
            logits_BKHW = upsample_logits(model(features_BCHW), *labels_BHW.shape[-2:])
            matrix.update(logits_BKHW.max(dim=1).indices, labels_BHW)
        miou = matrix.miou()
        if math.isnan(miou):
            raise ValueError(f"{self.val_folder}: no pixel of the validation split has a label.")
        return miou

    @cached_property
    def _train(self) -> FeatureCache:
        return FeatureCache(self.train_folder)

    @cached_property
    def _val(self) -> FeatureCache:
        return FeatureCache(self.val_folder)
