"""The step of a training as one CUDA graph: the host launches it whole, instead of each of its hundred kernels."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.half_weights import HalfWeights
from training.optim import RATE
from training.settings import Precision
from training.step import Batch, update

_LOG = logging.getLogger(__name__)

EAGER_STEPS = 3
"""Steps before the capture, in which libraries choose their kernels and the optimiser makes its state."""


class GraphStep:
    """Does what ``training.step.Step`` does, with batch and learning rate on the device.

    The first steps run eagerly, the next is captured, and from then on a step is a replay. Nothing is captured on a CPU, nor
    where the capture fails, which is logged: all steps are eager then, and right.

    Args:
        batch_at: the batch of the iteration that a tensor of shape (1,) on the device holds; it must not ask the host.
        learning_rates_I: of every iteration of the schedule, on the device.
        eager_steps: before the capture; None never captures.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch_at: Callable[[Tensor], Batch],
        loss_of: Callable[[Any, Tensor], Tensor],
        learning_rates_I: Tensor,
        precision: Precision = "float32",
        max_norm: float | None = None,
        eager_steps: int | None = EAGER_STEPS,
    ) -> None:
        self._model = HalfWeights(model) if precision == "bfloat16" else model
        self._optimizer, self._batch_at, self._loss_of = optimizer, batch_at, loss_of
        self._learning_rates_I, self._precision, self._max_norm = learning_rates_I, precision, max_norm
        self._iteration_1 = torch.zeros(1, dtype=torch.int64, device=learning_rates_I.device)
        for group in optimizer.param_groups:
            group["lr"] = torch.zeros((), device=learning_rates_I.device)
        self._loss = torch.zeros((), device=learning_rates_I.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._aside = torch.cuda.Stream(learning_rates_I.device) if learning_rates_I.is_cuda else None
        self._steps_done, self._captures_after = 0, eager_steps if learning_rates_I.is_cuda else None

    def __call__(self, iteration: int) -> Tensor:
        """Returns the loss, on the device; the next step overwrites it."""
        self._iteration_1.fill_(iteration)
        if self._steps_done == self._captures_after:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._run_aside()
        self._steps_done += 1
        return self._loss

    def _run(self) -> None:
        learning_rate = self._learning_rates_I.index_select(0, self._iteration_1).squeeze(0)
        for group in self._optimizer.param_groups:
            torch.mul(learning_rate, group[RATE], out=group["lr"])
        inputs, labels = self._batch_at(self._iteration_1)
        loss = update(self._model, self._optimizer, self._loss_of, inputs, labels, self._precision, max_norm=self._max_norm)
        self._loss.copy_(loss)

    def _run_aside(self) -> None:
        """Eagerly, on a stream that is not the default one: a capture does not accept what that one has left behind."""
        if self._aside is None:
            self._run()
            return
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            self._run()
        torch.cuda.current_stream().wait_stream(self._aside)

    def _capture(self) -> None:
        """A capture records kernels and runs none, so that this iteration is still to be taken afterwards."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._run()
        except RuntimeError as error:
            _LOG.warning("no CUDA graph, steps stay eager: %s", str(error).splitlines()[0])
            return
        self._graph = graph
