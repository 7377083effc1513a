"""Optimiser and learning-rate schedule."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """How weights follow gradients.

    Attributes:
        name: ``sgd`` (with ``momentum``, as in the paper) or ``adamw``.
        learning_rate: at the first iteration; it falls by the poly schedule lr x (1 - i / iterations)^power.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    weight_decay: float = 4e-5
    momentum: float = 0.9
    power: float = 0.9

    def __post_init__(self) -> None:
        if self.name not in ("sgd", "adamw"):
            raise ValueError(f"optimizer.name must be 'sgd' or 'adamw', got {self.name!r}.")
        if self.learning_rate <= 0:
            raise ValueError(f"optimizer.learning_rate must be above 0, got {self.learning_rate}.")
        if self.weight_decay < 0:
            raise ValueError(f"optimizer.weight_decay must be at least 0, got {self.weight_decay}.")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of the parameters that are trained. On a GPU it takes its learning rate from a tensor, too."""
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        on_gpu = all(parameter.is_cuda for parameter in trainable)
        if self.name == "adamw":
            return torch.optim.AdamW(
                trainable, lr=self.learning_rate, weight_decay=self.weight_decay, fused=on_gpu, capturable=on_gpu
            )
        return torch.optim.SGD(
            trainable, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay, fused=on_gpu
        )

    def learning_rate_at(self, iteration: int, iterations: int) -> float:
        """The poly schedule at ``iteration``, from 0."""
        return float(self.learning_rate * (1 - iteration / iterations) ** self.power)
