"""The budgets and settings of trainings, and what is asked of a trained model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import cos, inf, pi
from typing import Any, Literal, get_args

from data.system.errors import UserError
from models.settings import CellSettings
from training.loss_settings import LossSettings

Precision = Literal["float32", "bfloat16"]
"""Of activations and their gradients; weights and optimiser are float32 in either."""


PAPER_SCALES = tuple(0.5 + 0.25 * step for step in range(7))
"""0.5 to 2 by 0.25, DeepLab's random scales."""


DEEPLAB_MOMENTA = {"xception": 0.0003, "resnet": 0.05}
"""Of a backbone's batch norm, by what is in the backbone's name: 1 - decay, where DeepLab's code gives one."""
SLIM_MOMENTUM = 0.003
"""Of others, such as MobileNet-v2: what slim's ``training_scope`` has by itself."""


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """How weights follow gradients.

    Attributes:
        name: ``sgd`` (with ``momentum``, as in the paper) or ``adamw``.
        learning_rate: at the first iteration; it falls by ``schedule``.
        schedule: ``poly``, lr x (1 - i / iterations)^power, or ``cosine``, lr x (1 + cos(pi i / iterations)) / 2 (Loshchilov
            and Hutter 2017).
        warmup: iterations in which the rate rises to that of the schedule, in equal steps; 0 for none (Goyal et al. 2017).
        decayed: the parameters that have weight decay: ``all``, or ``convolutions``, as in DeepLab's code: convolutions and
            linear layers, but not normalisation, biases and depthwise kernels.
        bias_rate: factor of the learning rate for biases of convolutions and linear layers, 2 in DeepLab's code
            (``get_model_gradient_multipliers``).
        max_norm: of all gradients together: longer ones are shortened to it (Pascanu et al. 2013); None for none.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    weight_decay: float = 4e-5
    momentum: float = 0.9
    power: float = 0.9
    schedule: Literal["poly", "cosine"] = "poly"
    warmup: int = 0
    decayed: Literal["all", "convolutions"] = "all"
    bias_rate: float = 1.0
    max_norm: float | None = None

    def __post_init__(self) -> None:
        choices = {"name": ("sgd", "adamw"), "schedule": ("poly", "cosine"), "decayed": ("all", "convolutions")}
        for name, accepted in choices.items():
            if getattr(self, name) not in accepted:
                raise ValueError(f"optimizer.{name} must be {' or '.join(map(repr, accepted))}, got {getattr(self, name)!r}.")
        for name in ("weight_decay", "power", "warmup", "bias_rate"):
            if getattr(self, name) < 0:
                raise ValueError(f"optimizer.{name} must be at least 0, got {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"optimizer.learning_rate must be above 0, got {self.learning_rate}.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optimizer.momentum must be at least 0 and below 1, got {self.momentum}.")
        if self.max_norm is not None and not self.max_norm > 0:
            raise ValueError(f"optimizer.max_norm must be above 0, or null, got {self.max_norm}.")

    def learning_rate_at(self, iteration: int, iterations: int) -> float:
        """The schedule at ``iteration``, from 0."""
        done = iteration / iterations
        left = (1 - done) ** self.power if self.schedule == "poly" else (1 + cos(pi * done)) / 2
        risen = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        return float(self.learning_rate * left * risen)

    def learning_rates(self, iterations: int) -> list[float]:
        """Of every iteration."""
        return [self.learning_rate_at(iteration, iterations) for iteration in range(iterations)]


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The budget and settings of one proxy trial.

    Attributes:
        rungs: iterations after which the cell is scored on the whole validation split; the last is the full budget.
        batch_size: images per step.
        crop_px: side of the random square crop, a multiple of the output stride plus one; None for whole images. Crops are
            cut out of the cached features of the whole image.
        eval_batch_size: images a validation step; it changes no result.
        precision: of activations, in training and validation; bfloat16 is faster where the processor has it.
    """

    rungs: Sequence[int]
    batch_size: int = 8
    crop_px: int | None = None
    eval_batch_size: int = 8
    precision: Precision = "float32"
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
        if self.precision not in get_args(Precision):
            raise ValueError(f"proxy.precision must be float32 or bfloat16, got {self.precision!r}.")
        if self.optimizer.warmup >= rungs[-1]:
            raise ValueError(
                f"proxy.optimizer.warmup must be below the last of proxy.rungs={list(rungs)}, got {self.optimizer.warmup}."
            )
        stride = self.cell.output_stride
        if self.crop_px is not None and (self.crop_px <= stride or self.crop_px % stride != 1):
            raise ValueError(f"proxy.crop_px must be a multiple of {stride} plus 1, or null, got {self.crop_px}.")

    def check(self, output_stride: int) -> None:
        """Raise a UserError where cells are built for another output stride than the backbone's."""
        if self.cell.output_stride != output_stride:
            raise UserError(
                f"proxy.cell.output_stride: must be the backbone's, {output_stride}, got {self.cell.output_stride}."
            )


@dataclass(frozen=True, slots=True)
class GpuSettings:
    """How a GPU takes the step of a whole model; a CPU heeds none of it. ``benchmarks/gpu_first.py`` times them.

    Attributes:
        graph: as one CUDA graph, in one process and with each batch in one part.
        channels_last: images and weights with channels last in memory.
        cudnn_benchmark: convolutions by the algorithms that are fastest by the clock, which may give other bits when a training
            is repeated; else by those that give the same bits again. What a backbone's own layers do beside is theirs.
    """

    graph: bool = False
    channels_last: bool = False
    cudnn_benchmark: bool = False


WITHOUT_EFFECT = ("workers", "activation_checkpointing")
"""The ``RetrainSettings`` that change no result: a training may go on with others."""


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """The budget and settings of a full training.

    Attributes:
        iterations: optimiser steps.
        eval_every: steps between validations; the best model by validation mIoU is kept.
        height_px, width_px: of the training crop, multiples of the output stride plus one.
        scales: factors by which images are resized before the crop, drawn from with equal chance.
        flip: mirror every other image, left to right.
        augment: albumentations that follow crop and flip, each by its name and arguments.
        color_jitter: most by which brightness, contrast and saturation change, as a factor; the paper changes none.
        freeze_batch_norm: keep the running statistics of the backbone's batch norm, and normalise by them; its scale and shift
            are trained (as with DeepLab's ``fine_tune_batch_norm=False``). Needed for weights whose batch norm was folded into
            the convolutions: their running statistics are placeholders.
        recalibrate: batches by which the backbone's batch norm gets statistics of the data before the first step, without a
            change of what it computes; 0 for none. Weights whose statistics are placeholders need it where batch norm is not
            frozen.
        sync_batch_norm: batch norm sees the whole batch, where several processes share it.
        decoder: add DeepLabv3+'s decoder; None adds it to an Xception alone, as DeepLab's checkpoints have it.
        backbone_bn_momentum: of the backbone's running statistics, in torch's sense (0.1 is torch's own); None is DeepLab's for
            the backbone (research/deeplab, core/feature_extractor.py).
        auxiliary: weight of the loss of a second classifier on the backbone's last map but one, which is thrown away in the end
            (0.4 in Zhao et al. 2017); 0 for none.
        activation_checkpointing: keep what each of the backbone's blocks is given alone, and compute its other activations
            again in the backward pass: less memory, more work.
        workers: processes that load and augment images; 0 does it in the training process, None takes one for each CPU that is
            reserved for a process with a GPU (at most 16), and one on a CPU.
        precision: of activations in training; validation is in float32.
        accumulate: parts that a batch goes through the model in; more need less memory. Batch norm sees one part at a time.
        backbone_rate, head_rate: factors of the learning rate, of the backbone's and of all other parameters.
        ema_decay: keep an exponential moving average of the weights, and validate and save that; null keeps none.
        train_split, val_split: of the data set. What is chosen by its score should not be chosen by ``val``, which is then no
            check any more: search_train and search_val are there for that.
    """

    iterations: int
    eval_every: int
    height_px: int
    width_px: int
    batch_size: int = 16
    scales: Sequence[float] = PAPER_SCALES
    flip: bool = True
    color_jitter: float = 0.0
    augment: Sequence[Mapping[str, Any]] = ()
    freeze_batch_norm: bool = True
    recalibrate: int = 0
    sync_batch_norm: bool = True
    decoder: bool | None = False
    backbone_bn_momentum: float | None = 0.1
    auxiliary: float = 0.0
    activation_checkpointing: bool = False
    workers: int | None = 0
    precision: Precision = "float32"
    accumulate: int = 1
    backbone_rate: float = 1.0
    head_rate: float = 1.0
    ema_decay: float | None = None
    train_split: str = "train"
    val_split: str = "val"
    cell: CellSettings = field(default_factory=CellSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    gpu: GpuSettings = field(default_factory=GpuSettings)

    def __post_init__(self) -> None:
        leasts = {
            "iterations": 1,
            "eval_every": 1,
            "recalibrate": 0,
            "auxiliary": 0,
            "backbone_rate": 0,
            "head_rate": 0,
        }
        for name, least in leasts.items():
            if not least <= getattr(self, name) < inf:
                raise ValueError(f"training.{name} must be at least {least}, got {getattr(self, name)}.")
        if self.optimizer.warmup >= self.iterations:
            raise ValueError(
                f"training.optimizer.warmup must be below training.iterations={self.iterations}, got {self.optimizer.warmup}."
            )
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"training.workers must be at least 0, or null, got {self.workers}.")
        self._check_batch()
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"training.scales must be at least one factor above 0, got {list(self.scales)}.")
        if not 0 <= self.color_jitter < 1:
            raise ValueError(f"training.color_jitter must be from 0 to below 1, got {self.color_jitter}.")
        if self.precision not in get_args(Precision):
            raise ValueError(f"training.precision must be float32 or bfloat16, got {self.precision!r}.")
        if self.backbone_bn_momentum is not None and not 0 < self.backbone_bn_momentum <= 1:
            raise ValueError(
                f"training.backbone_bn_momentum must be above 0 and at most 1, or null, got {self.backbone_bn_momentum}."
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"training.ema_decay must be above 0 and below 1, or null, got {self.ema_decay}.")
        if self.train_split == self.val_split:
            raise ValueError(
                f"training.val_split must be another one than training.train_split, got {self.val_split!r} for both."
            )
        for name in ("height_px", "width_px"):
            if getattr(self, name) % self.cell.output_stride != 1:
                raise ValueError(
                    f"training.{name} must be a multiple of {self.cell.output_stride} plus 1, got {getattr(self, name)}."
                )

    def _check_batch(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f"training.batch_size must be at least 2 for batch norm, got {self.batch_size}.")
        if self.accumulate < 1 or self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise ValueError(
                f"training.accumulate must divide training.batch_size into parts of at least 2, got {self.accumulate} parts of "
                f"{self.batch_size}."
            )

    def check(self, output_stride: int, processes: int = 1) -> None:
        """Refuse what a training of a backbone by some processes would find out once it has begun.

        Raises:
            UserError: the cell is built for another output stride, or a process' share of the batch does not divide into
                parts of 2 and more, which batch norm needs that sees no other process' part.
        """
        if self.cell.output_stride != output_stride:
            raise UserError(
                f"training.cell.output_stride: must be the backbone's, {output_stride}, got {self.cell.output_stride}."
            )
        if self.batch_size % processes:
            raise UserError(f"training.batch_size must be a multiple of data_parallel={processes}, got {self.batch_size}.")
        if self.gpu.graph and (self.accumulate > 1 or processes > 1):
            raise UserError(
                f"training.gpu.graph must be false where a batch has several parts, got training.accumulate={self.accumulate}, "
                f"data_parallel={processes}."
            )
        if self.gpu.graph and self.activation_checkpointing:
            raise UserError("training.gpu.graph must be false with training.activation_checkpointing, got true.")
        share, least = self.batch_size // processes, 1 if self.sync_batch_norm and processes > 1 else 2
        if share % self.accumulate or share // self.accumulate < least:
            raise UserError(
                f"training.accumulate must divide each process' share of training.batch_size into parts of at least {least}, "
                f"got {self.accumulate} parts of {self.batch_size} / {processes} = {share}."
            )

    def has_decoder(self, backbone: str) -> bool:
        """Whether a model on the backbone of this name has one."""
        return "xception" in backbone if self.decoder is None else self.decoder

    def backbone_momentum(self, backbone: str) -> float:
        """Of the running statistics of the backbone of this name."""
        if self.backbone_bn_momentum is not None:
            return self.backbone_bn_momentum
        return next((momentum for kind, momentum in DEEPLAB_MOMENTA.items() if kind in backbone), SLIM_MOMENTUM)

    @property
    def stops(self) -> tuple[int, ...]:
        """The iterations of validation; the last is the end."""
        return (*range(self.eval_every, self.iterations, self.eval_every), self.iterations)


@dataclass(frozen=True, slots=True)
class Inference:
    """What is asked of a model to label one image.

    Attributes:
        scales: factors that the image is resized by; class probabilities are averaged at the image's size.
        flip: average over each scale's mirror image, too.
        tile_px: images with a longer side are labelled in tiles of at most this height and width, so that memory is bounded.
            A tile's cell sees no further than the tile.
        overlap_px: what neighbouring tiles share at least; each keeps the half on its side.
        output_stride: of backbone and cell; None takes what the model was trained with. In Python it is the model's:
            ``Segmenter.at_stride`` makes one of another.
    """

    scales: Sequence[float] = (1.0,)
    flip: bool = False
    tile_px: int = 2048
    overlap_px: int = 256
    output_stride: int | None = None

    def __post_init__(self) -> None:
        if self.output_stride not in (None, 4, 8, 16):
            raise ValueError(f"inference.output_stride must be 4, 8, 16 or null, got {self.output_stride}.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"inference.scales must be at least one factor above 0, got {list(self.scales)}.")
        if self.tile_px < 64:
            raise ValueError(f"inference.tile_px must be at least 64, got {self.tile_px}.")
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise ValueError(f"inference.overlap_px must be from 0 to half of tile_px, got {self.overlap_px}.")
