"""One step of a training: a batch, its loss, the gradients, the update."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.half_weights import HalfWeights
from training.optim import RATE
from training.settings import OptimizerSettings, Precision

Batch = tuple[Tensor, Tensor]
"""Inputs (B, C, H, W) and labels (B, H, W)."""


@dataclass(frozen=True, slots=True)
class Step:
    """Takes the step of a given iteration, batch and learning rate being functions of its number.

    Attributes:
        batch_at: the batch of iteration i, on the model's device.
        loss_of: of the model's output and the labels.
        iterations: the length of the learning-rate schedule.
        parts: that a batch goes through the model in, each with the same weight.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    settings: OptimizerSettings
    batch_at: Callable[[int], Batch]
    loss_of: Callable[[Any, Tensor], Tensor]
    iterations: int
    precision: Precision = "float32"
    parts: int = 1

    def __call__(self, iteration: int) -> Tensor:
        """Returns the loss, on the device: nothing waits for it."""
        for group in self.optimizer.param_groups:
            group["lr"] = group[RATE] * self.settings.learning_rate_at(iteration, self.iterations)
        inputs, labels = self.batch_at(iteration)
        max_norm = self.settings.max_norm
        return update(self.model, self.optimizer, self.loss_of, inputs, labels, self.precision, self.parts, max_norm)


def update(
    model: Callable[[Tensor], Any],
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Any, Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    precision: Precision,
    parts: int = 1,
    max_norm: float | None = None,
) -> Tensor:
    """Move the weights along the gradients of one batch, of ``max_norm`` at most, and return its loss."""
    optimizer.zero_grad(set_to_none=True)
    losses = []
    chunks = list(zip(inputs.chunk(parts), labels.chunk(parts), strict=True))  # fewer than asked for where there are too few
    for some_inputs, some_labels in chunks:
        loss = loss_of(predicted(model, some_inputs, precision), some_labels) / len(chunks)
        loss.backward()
        losses.append(loss.detach())
    if isinstance(model, HalfWeights):
        model.give_gradients()
    if max_norm is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    return torch.stack(losses).sum()


def predicted(model: Callable[[Tensor], Any], inputs: Tensor, precision: Precision) -> Any:
    """The model's output, computed in ``precision``."""
    inputs = inputs.to(getattr(torch, precision))
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
        return model(inputs)
