"""The training loop: one for the proxy task, fine-tuning and full training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.optim import OptimizerSettings
from training.score import DivergedError

Batch = tuple[Tensor, Tensor]
"""Inputs (B, C, H, W) and labels (B, H, W)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands. ``loss`` is the mean since the stop before."""

    iteration: int
    loss: float


def train(
    model: nn.Module,
    batch_at: Callable[[int], Batch],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    settings: OptimizerSettings,
    seed: int,
    stops: Sequence[int],
    start: int = 0,
    set_mode: Callable[[nn.Module], object] = lambda model: model.train(),
) -> Iterator[Progress]:
    """Train to the last of ``stops``, giving control back at each of them after ``start``.

    The batch of an iteration depends on its number alone, and the generators are seeded at every stop, so a training that
    goes on from a checkpoint made at a stop takes the same steps as one that was never interrupted.

    Args:
        batch_at: the batch of iteration i, on the model's device.
        loss_of: of the model's output and the labels.
        stops: iterations, ascending; the last is also the length of the learning-rate schedule.
        start: iterations already done: 0 or one of ``stops``.
        set_mode: puts the model into training mode; it is called again after each stop.

    Raises:
        DivergedError: the loss is not finite; noticed at a stop or within 50 iterations.
    """
    iterations = stops[-1]
    for stop in [stop for stop in stops if stop > start]:
        set_mode(model)
        torch.manual_seed(np.random.SeedSequence([seed, start]).generate_state(1)[0])
        total = torch.zeros((), device=next(model.parameters()).device)
        for iteration in range(start, stop):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(iteration, iterations)
            inputs, labels = batch_at(iteration)
            loss = loss_of(model(inputs), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            if (iteration % 50 == 49 or iteration == stop - 1) and not torch.isfinite(total):
                raise DivergedError(f"the loss was not finite by iteration {iteration + 1}")
        yield Progress(stop, float(total) / (stop - start))
        start = stop


def sample_at(number: int, num_samples: int, seed: int) -> int:
    """The index of the ``number``-th sample of a training: each epoch is a permutation drawn from (seed, epoch)."""
    epoch, offset = divmod(number, num_samples)
    return int(_permutation(num_samples, seed, epoch)[offset])


@lru_cache(maxsize=4)
def _permutation(num_samples: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(num_samples)
