"""Full training: backbone and cell end to end, on images."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from data.datasets import SegmentationDataset, Split
from data.transforms import Augmentation, normalize
from models.backbones import BackboneSettings
from models.operators import CellSettings
from models.segmenter import Segmenter
from models.spec import CellSpec
from training.evaluation import Scores, evaluate
from training.loop import train
from training.losses import segmentation_loss
from training.optim import OptimizerSettings
from training.sampling import sample_at
from training.step import Step

PAPER_SCALES = tuple(0.5 + 0.25 * step for step in range(7))
"""0.5 to 2 by 0.25, DeepLab's random scales."""


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """The budget and settings of a full training.

    Attributes:
        iterations: optimiser steps.
        eval_every: steps between validations; the best model by validation mIoU is kept.
        height_px, width_px: of the training crop, multiples of the output stride plus one.
        scales: factors by which images are resized before the crop, drawn from with equal chance.
        flip: mirror every other image, left to right.
        color_jitter: most by which brightness, contrast and saturation change, as a factor; the paper changes none.
        freeze_batch_norm: keep the backbone's batch norm as it was pre-trained. Needed for weights whose batch norm was folded
            into the convolutions: their running statistics are placeholders.
        decoder: add DeepLabv3+'s decoder.
        workers: processes that load and augment images; 0 does it in the training process.
    """

    iterations: int
    eval_every: int
    height_px: int
    width_px: int
    batch_size: int = 16
    scales: Sequence[float] = PAPER_SCALES
    flip: bool = True
    color_jitter: float = 0.0
    freeze_batch_norm: bool = True
    decoder: bool = False
    workers: int = 0
    cell: CellSettings = field(default_factory=CellSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)

    def __post_init__(self) -> None:
        for name in ("iterations", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1, got {getattr(self, name)}.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"training.scales must be at least one factor above 0, got {list(self.scales)}.")
        if not 0 <= self.color_jitter < 1:
            raise ValueError(f"training.color_jitter must be from 0 to below 1, got {self.color_jitter}.")
        if self.batch_size < 2:
            raise ValueError(f"training.batch_size must be at least 2 for batch norm, got {self.batch_size}.")
        for name in ("height_px", "width_px"):
            if getattr(self, name) % self.cell.output_stride != 1:
                raise ValueError(
                    f"training.{name} must be a multiple of {self.cell.output_stride} plus 1, got {getattr(self, name)}."
                )

    @property
    def stops(self) -> tuple[int, ...]:
        """The iterations of validation; the last is the end."""
        return (*range(self.eval_every, self.iterations, self.eval_every), self.iterations)


@dataclass(frozen=True, slots=True)
class Validation:
    """A model in training, scored."""

    iteration: int
    loss: float
    scores: Scores
    is_best: bool


def retrain(
    cell: CellSpec,
    dataset: SegmentationDataset,
    backbone: BackboneSettings,
    settings: RetrainSettings,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Validation]:
    """Train a model with ``cell`` on the split ``train``, and keep in ``folder`` the best on ``val``.

    Args:
        folder: receives ``model.safetensors`` and ``config.json`` of the best model and ``scores.json`` beside them.
        progress: told the validation images done and in all.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = Segmenter(
        cell=cell.to_json(),
        classes=dataset.info.num_classes,
        encoder_name=backbone.name,
        encoder_weights=backbone.weights,
        output_stride=backbone.output_stride,
        pad_type=backbone.pad_type,
        mean=backbone.mean,
        std=backbone.std,
        filters=settings.cell.filters,
        bn_momentum=settings.cell.bn_momentum,
        dropout=settings.cell.dropout,
        decoder=settings.decoder,
        class_names=list(dataset.info.class_names),
        encoder_seed=backbone.seed,
    ).to(device)
    optimizer = settings.optimizer.build(model.parameters())
    augmentation = Augmentation(
        height_px=settings.height_px,
        width_px=settings.width_px,
        mean=backbone.mean,
        ignore_label=dataset.info.ignore_label,
        scales=settings.scales,
        flip=0.5 if settings.flip else 0.0,
        color_jitter=settings.color_jitter,
    )
    length = settings.iterations * settings.batch_size
    samples = _AugmentedSamples(dataset.split("train"), augmentation, backbone, seed, length)
    batches = iter(DataLoader(samples, settings.batch_size, num_workers=settings.workers))
    val_split = dataset.split("val")
    best_miou = -1.0
    step = Step(
        model,
        optimizer,
        settings.optimizer,
        batch_at=lambda iteration: tuple(tensor.to(device) for tensor in next(batches)),  # type: ignore[arg-type, return-value]
        loss_of=partial(segmentation_loss, ignore_label=dataset.info.ignore_label),
        iterations=settings.iterations,
    )
    set_mode = partial(_train_mode, freeze_batch_norm=settings.freeze_batch_norm)
    for reached in train(model, step, seed, settings.stops, set_mode=set_mode):
        scores = evaluate(model, val_split, dataset.info, progress)
        is_best = scores.miou > best_miou
        if is_best:
            best_miou = scores.miou
            model.save_pretrained(folder)
            record = {"iteration": reached.iteration, "digest": cell.digest, **asdict(scores)}
            (folder / "scores.json").write_text(json.dumps(record, indent=2) + "\n")
        yield Validation(reached.iteration, reached.loss, scores, is_best)


class _AugmentedSamples(Dataset[tuple[Tensor, Tensor]]):
    """The training samples in the order of their use: sample n is a function of (seed, n), whoever loads it."""

    def __init__(self, split: Split, augmentation: Augmentation, backbone: BackboneSettings, seed: int, length: int) -> None:
        self._split, self._augmentation, self._backbone = split, augmentation, backbone
        self._seed, self._length = seed, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        sample = self._split[sample_at(number, len(self._split), self._seed)]
        augmented = self._augmentation(sample, seed=(self._seed * 1_000_003 + number) % 2**32)
        image_CHW = normalize(augmented.image_HWC, self._backbone.mean, self._backbone.std)
        return torch.from_numpy(image_CHW), torch.from_numpy(augmented.labels_HW)


def _train_mode(model: nn.Module, freeze_batch_norm: bool) -> None:
    model.train()
    if freeze_batch_norm:
        assert isinstance(model, Segmenter)
        for module in model.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
