"""The budget and settings of an end-to-end training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from models.operators import CellSettings
from training.optim import OptimizerSettings
from training.step import Precision

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
        precision: of activations in training; validation is in float32.
        accumulate: parts that a batch goes through the model in; more need less memory. Batch norm sees one part at a time.
        ema_decay: keep an exponential moving average of the weights, and validate and save that; null keeps none.
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
    precision: Precision = "float32"
    accumulate: int = 1
    ema_decay: float | None = None
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
        if self.precision not in get_args(Precision):
            raise ValueError(f"training.precision must be float32 or bfloat16, got {self.precision!r}.")
        if self.accumulate < 1 or self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise ValueError(
                f"training.accumulate must divide training.batch_size into parts of 2 and more, got {self.accumulate} parts of "
                f"{self.batch_size}."
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"training.ema_decay must be above 0 and below 1, or null, got {self.ema_decay}.")
        for name in ("height_px", "width_px"):
            if getattr(self, name) % self.cell.output_stride != 1:
                raise ValueError(
                    f"training.{name} must be a multiple of {self.cell.output_stride} plus 1, got {getattr(self, name)}."
                )

    @property
    def stops(self) -> tuple[int, ...]:
        """The iterations of validation; the last is the end."""
        return (*range(self.eval_every, self.iterations, self.eval_every), self.iterations)
