"""The proxy task: how good a cell is, judged by a short training on cached backbone features.

Chen et al. 2018, section 3.3: a small pre-trained backbone, its features cached, only the cell on top trained.
"""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import nn

from data.cache.feature_cache import FeatureCache
from data.cache.local_copy import local_copy
from data.folds import Fold
from data.system.errors import UserError
from models.dpc import classifier_on
from models.grid import num_features
from models.spec import CellSpec
from training.batches import Batches, IntArray
from training.checkpoint import load_checkpoint, save_checkpoint
from training.device import given_device
from training.features import Features, ResidentFeatures, features_on
from training.graph_step import GraphStep
from training.loop import Progress, train
from training.losses import segmentation_loss, warm_up
from training.metrics import ConfusionMatrix
from training.optim import build_optimizer
from training.score import DivergedError, RungScore
from training.settings import ProxySettings
from training.shared_features import SharedFeatures, shared_features_on
from training.step import Step, predicted
from training.upsampling import upsampled_argmax

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProxyTask:
    """Scores a cell: a plain callable over two finished feature caches.

    Attributes:
        local: where copies of both are made and read on the machine that trains; None reads them where they lie.
        folds: of the samples of one cache, which is both folders: the cell is trained anew for each, the rungs of all side by
            side, and scored by the mean. Empty trains once.
        shares_gpu: with other trials, which then read one copy of the features there.
    """

    train_folder: Path
    val_folder: Path
    settings: ProxySettings
    local: Path | None = None
    folds: Sequence[Fold] = ()
    shares_gpu: bool = False

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """Train ``cell`` and score it at each rung. On one CPU thread the same arguments give the same bits.

        Args:
            seed: of initial weights, batch order, crops and dropout.
            checkpoint: where the state is written after each rung but the last. Where it exists, the scores of earlier
                rungs are yielded again and training resumes from there.

        Raises:
            DivergedError: the loss is no longer a number.
            OSError: the process that keeps shared features has ended.
            ValueError: no pixel of what it is scored on has a label.
        """
        torch.backends.cudnn.deterministic = True  # of its kernels, those that give the same bits again
        warm_up(self._device, self._train.info.num_classes)
        started_s = time.monotonic()
        parts = self._parts
        models = nn.ModuleList(self._model(cell, seed) for _ in parts)
        optimizers = [build_optimizer(self.settings.optimizer, model) for model in models]
        state = load_checkpoint(checkpoint, models, optimizers) if checkpoint else None
        scores = [RungScore(**score) for score in state["scores"]] if state else []
        yield from scores
        before_s, start = (scores[-1].elapsed_s, scores[-1].iteration) if scores else (0.0, 0)
        trainings = [
            train(model, self._step(model, optimizer, samples, seed), seed, tuple(self.settings.rungs), start)
            for model, optimizer, (samples, _) in zip(models, optimizers, parts, strict=True)
        ]
        for reached, miou in self._validated(models, trainings):
            loss, elapsed_s = fmean(part.loss for part in reached), before_s + time.monotonic() - started_s
            scores.append(RungScore(len(scores) + 1, reached[0].iteration, miou, loss, elapsed_s))
            if checkpoint and len(scores) < len(self.settings.rungs):
                try:
                    save_checkpoint(checkpoint, models, optimizers, {"scores": [asdict(score) for score in scores]})
                except OSError as error:  # it costs a resume some minutes, but no score
                    _LOG.warning("no checkpoint: %s", error)
            yield scores[-1]

    def _validated(
        self, models: Iterable[nn.Module], trainings: Iterable[Iterator[Progress]]
    ) -> Iterator[tuple[Sequence[Progress], float]]:
        """Where the trainings stand at each rung, and the mean score. Nothing is told of features that are no longer kept."""
        try:
            for reached in zip(*trainings, strict=True):
                miou = fmean(self._validate(model, val) for model, (_, val) in zip(models, self._parts, strict=True))
                self._check_kept()
                yield reached, miou
        except (DivergedError, ValueError):  # of values that may have been anything
            self._check_kept()
            raise

    def _check_kept(self) -> None:
        """Raises an OSError where what was read may have been somebody else's memory."""
        for features in (self._train_features, self._val_features):
            if isinstance(features, SharedFeatures):
                features.check()

    @cached_property
    def _parts(self) -> list[tuple[IntArray, IntArray]]:
        """The cached samples of each training, and those that score it."""
        if not self.folds:
            return [(np.arange(len(self._train)), np.arange(len(self._val)))]
        num_samples = len(self.folds[0].train) + len(self.folds[0].val)
        return [(fold.views(len(self._train) // num_samples), fold.val) for fold in self.folds]

    def _model(self, cell: CellSpec, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return classifier_on(cell, self._train.channels, self._train.info.num_classes, self.settings.cell).to(self._device)

    def _step(self, model: nn.Module, optimizer: torch.optim.Optimizer, samples: IntArray, seed: int) -> Step | GraphStep:
        settings, iterations, features = self.settings, self.settings.rungs[-1], self._train_features
        loss_of = partial(segmentation_loss, ignore_label=self._train.info.ignore_label)
        batches = Batches(self._train, samples, settings.batch_size, self._crop_side, seed)
        if isinstance(features, ResidentFeatures):
            planned = batches.planned(iterations, features, self._device)
            rates_I, max_norm = (
                torch.tensor(settings.optimizer.learning_rates(iterations), device=self._device),
                settings.optimizer.max_norm,
            )
            return GraphStep(model, optimizer, planned, loss_of, rates_I, settings.precision, max_norm)
        batch_at = partial(batches.at, features=features)
        return Step(model, optimizer, settings.optimizer, batch_at, loss_of, iterations, settings.precision)

    def check(self) -> None:
        """Refuse what the first trial would find out.

        Raises:
            ValueError: a setting does not fit the caches.
        """
        stride, crop_px = self.settings.cell.output_stride, self.settings.crop_px
        self.settings.check(self._train.content["backbone"]["output_stride"])
        if self._crop_side is not None and self._crop_side > min(self._train.height, self._train.width):
            raise UserError(
                f"proxy.crop_px: {crop_px} is larger than the cached images, "
                f"{stride * (self._train.width - 1) + 1}x{stride * (self._train.height - 1) + 1} pixels."
            )

    @property
    def _crop_side(self) -> int | None:
        """Of the random crops, on the features' grid."""
        crop_px = self.settings.crop_px
        return None if crop_px is None else num_features(crop_px, self.settings.cell.output_stride)

    @torch.inference_mode()
    def _validate(self, model: nn.Module, samples: IntArray) -> float:
        model.eval()
        matrix = ConfusionMatrix(self._val.info.num_classes, self._val.info.ignore_label)
        for start in range(0, len(samples), self.settings.eval_batch_size):
            batch = samples[start : start + self.settings.eval_batch_size].tolist()
            features_BCHW, labels_BHW = self._val_features.batch(batch)
            logits_BKhw = predicted(model, features_BCHW, self.settings.precision)
            matrix.update(upsampled_argmax(logits_BKhw, *labels_BHW.shape[-2:]), labels_BHW)
        miou = matrix.miou()
        if math.isnan(miou):
            raise ValueError(f"{self.val_folder}: no pixel of the validation split has a label.")
        return miou

    @cached_property
    def _device(self) -> torch.device:
        return given_device()

    @cached_property
    def _train(self) -> FeatureCache:
        return self._opened(self.train_folder)

    @cached_property
    def _val(self) -> FeatureCache:
        return self._train if self.val_folder == self.train_folder else self._opened(self.val_folder)

    def _opened(self, folder: Path) -> FeatureCache:
        if self.local:
            return FeatureCache(local_copy(folder, self.local))
        cache = FeatureCache(folder)
        cache.verify(reread=False)  # a node may have a disk of its own
        return cache

    @cached_property
    def _train_features(self) -> Features:
        """Kept from cell to cell."""
        return self._features(self._train)

    @cached_property
    def _val_features(self) -> Features:
        return self._train_features if self._val is self._train else self._features(self._val)

    def _features(self, cache: FeatureCache) -> Features:
        """A GPU holds them once."""
        return (shared_features_on if self.shares_gpu and self._device.type == "cuda" else features_on)(cache, self._device)
