"""The training loop: one for the proxy task, fine-tuning and full training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.score import DivergedError


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands. ``loss`` is the mean since the stop before."""

    iteration: int
    loss: float


def train(
    model: nn.Module,
    step: Callable[[int], Tensor],
    seed: int,
    stops: Sequence[int],
    start: int = 0,
    *,
    set_mode: Callable[[nn.Module], object] = lambda model: model.train(),
    tell: Callable[[Progress], object] = lambda progress: None,
    rank: int = 0,
) -> Iterator[Progress]:
    """Train to the last of ``stops``, giving control back at each of them after ``start``.

    What a step does depends on its iteration alone, and the generators are seeded at every stop, so a training that goes on
    from a checkpoint made at a stop takes the same steps as one that was never interrupted.

    Args:
        step: takes the step of an iteration and returns its loss; ``training.step.Step`` is one.
        stops: iterations, ascending.
        start: iterations already done: 0 or one of ``stops``.
        set_mode: puts the model into training mode; it is called again after each stop.
        tell: told where the training stands, every 50 iterations and before each stop.
        rank: of this process among those that share each batch: each drops other values.

    Raises:
        DivergedError: the loss is not finite; noticed at a stop or within 50 iterations.
    """
    for stop in [stop for stop in stops if stop > start]:
        set_mode(model)
        torch.manual_seed(np.random.SeedSequence([seed, start, *([rank] if rank else [])]).generate_state(1)[0])
        total = torch.zeros((), device=next(model.parameters()).device)
        for iteration in range(start, stop):
            total += step(iteration)
            if iteration % 50 == 49 or iteration == stop - 1:
                if not torch.isfinite(total):
                    raise DivergedError(f"the loss was not finite by iteration {iteration + 1}")
                tell(Progress(iteration + 1, float(total) / (iteration + 1 - start)))
        yield Progress(stop, float(total) / (stop - start))
        start = stop
