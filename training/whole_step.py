"""The step of a whole model, as its device takes it fastest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.graph_step import GraphStep
from training.settings import RetrainSettings
from training.step import Batch, Step


def whole_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: RetrainSettings,
    batch_at: Callable[[int], Batch],
    loss_of: Callable[[Any, Tensor], Tensor],
    device: torch.device,
) -> Callable[[int], Tensor]:
    """Takes the step of an iteration, and returns its loss; ``settings.gpu`` is heeded on a GPU alone.

    Args:
        model: as ``TrainedModel`` lays it out.
    """
    iterations = settings.iterations
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = settings.gpu.cudnn_benchmark
        torch.backends.cudnn.deterministic = not settings.gpu.cudnn_benchmark
        if settings.gpu.channels_last:
            batch_at = _with_channels_last(batch_at)
        if settings.gpu.graph:
            rates_I = torch.tensor(settings.optimizer.learning_rates(iterations), device=device)
            return LoadedGraphStep(model, optimizer, batch_at, loss_of, rates_I, settings)
    return Step(model, optimizer, settings.optimizer, batch_at, loss_of, iterations, settings.precision, settings.accumulate)


class LoadedGraphStep:
    """``GraphStep`` on batches that the host loads: each is copied to where the graph reads."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch_at: Callable[[int], Batch],
        loss_of: Callable[[Any, Tensor], Tensor],
        learning_rates_I: Tensor,
        settings: RetrainSettings,
    ) -> None:
        self._batch_at = batch_at
        self._batch: Batch | None = None
        self._step = GraphStep(
            model, optimizer, self._loaded, loss_of, learning_rates_I, settings.precision, settings.optimizer.max_norm
        )

    def __call__(self, iteration: int) -> Tensor:
        batch = self._batch_at(iteration)
        if self._batch is None:
            self._batch = batch
        else:
            for held, new in zip(self._batch, batch, strict=True):
                held.copy_(new)
        return self._step(iteration)

    def _loaded(self, iteration_1: Tensor) -> Batch:
        assert self._batch is not None
        return self._batch


def _with_channels_last(batch_at: Callable[[int], Batch]) -> Callable[[int], Batch]:
    def laid_out(iteration: int) -> Batch:
        images_BCHW, labels_BHW = batch_at(iteration)
        return images_BCHW.contiguous(memory_format=torch.channels_last), labels_BHW

    return laid_out
