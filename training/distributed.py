"""Full training shared by several processes of a Ray cluster: data parallel, through Ray Train."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed
from ray.util.queue import Empty, Queue
from torch import Tensor, nn

from data.system.errors import UserError
from models.spec import CellSpec
from training.device import given_device
from training.end_to_end import SILENT, EndToEndTask, Hooks, Validation, retrain
from training.loop import Progress
from training.score import DivergedError

_POLL_S = 0.5


@dataclass(frozen=True)
class TrainWorkers:
    """This process among the workers of a Ray Train run."""

    rank: int
    size: int

    @property
    def device(self) -> torch.device:
        given_device()  # Ray Train would take the CPU
        return ray.train.torch.get_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        _leave_out_unused(model, self.device)
        return ray.train.torch.prepare_model(model, move_to_device=False)

    def sum(self, part: Tensor) -> Tensor:
        total = part.detach().to(self.device, copy=True)
        torch.distributed.all_reduce(total)
        return total.to(part.device)

    def adopt_buffers(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def retrain_on_cluster(
    task: EndToEndTask,
    cell: CellSpec,
    seed: int,
    folder: Path,
    *,
    workers: int,
    resources: dict[str, float],
    retries: int = 0,
    labels: Mapping[str, str] | None = None,
    tell: Callable[[Progress], object] = lambda progress: None,
) -> Iterator[Validation]:
    """``training.end_to_end.retrain`` by ``workers`` processes of the connected Ray cluster, each on its share of every batch.

    Args:
        folder: on storage that every node sees; the first worker writes there.
        resources: of each worker, such as ``{"CPU": 1, "GPU": 1}``.
        retries: how often the workers are started again when one dies; they resume from the last validation.
        labels: that the nodes of the workers must have, in Ray's syntax.
        tell: told where the training stands, every 50 iterations, once of each.

    Raises:
        ValueError: the batch cannot be shared equally, as ``RetrainSettings.check`` has it.
        UserError, DivergedError: a worker met it, and is not started again.
        RuntimeError: a worker failed once too often.
    """
    task.settings.check(task.backbone.output_stride, workers)
    messages = Queue()
    train = partial(retrain, task, cell, seed, folder)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"messages": messages, "train": train},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=resources.get("GPU", 0) > 0,
            resources_per_worker=resources,
            label_selector=dict(labels) if labels else None,  # type: ignore[call-arg]  # the class has two versions
        ),
        run_config=ray.train.RunConfig(
            name="ray-train",
            storage_path=str(folder),
            failure_config=ray.train.FailureConfig(max_failures=retries),
        ),
    )
    run = _Run(trainer)
    run.start()
    known = {Progress: 0, Validation: 0}
    while run.is_alive() or not messages.empty():
        try:
            message: Progress | Validation | UserError | DivergedError = messages.get(timeout=_POLL_S)
        except Empty:
            continue
        if isinstance(message, UserError | DivergedError):
            raise message
        if message.iteration <= known[type(message)]:  # of workers that were started again
            continue
        known[type(message)] = message.iteration
        if isinstance(message, Progress):
            tell(message)
        else:
            yield message
    if run.error is not None:
        raise RuntimeError(f"data-parallel training failed: {run.error}") from run.error


def _leave_out_unused(model: nn.Module, device: torch.device) -> None:
    """Train no parameter that no output follows from, as an encoder's own last layers: its gradient would be waited for."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    was_training = model.training
    outputs = model.eval()(torch.zeros(1, 3, 65, 65, device=device))
    total = sum(output.sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    model.train(was_training)


class _Run(threading.Thread):
    """A Ray Train run, in a thread beside the loop that passes its validations on."""

    def __init__(self, trainer: Any) -> None:
        super().__init__(name="ray-train", daemon=True)
        self._trainer = trainer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:
            self.error = error


def _work(config: dict[str, Any]) -> None:
    """What each worker does; the first one reports where it stands and its validations."""
    context = ray.train.get_context()
    workers = TrainWorkers(context.get_world_rank(), context.get_world_size())
    messages = config["messages"]
    try:
        hooks = Hooks(messages.put) if workers.rank == 0 else SILENT
        for validation in config["train"](hooks=hooks, workers=workers):
            messages.put(replace(validation, model=None))
    except (UserError, DivergedError) as error:  # no other try would end otherwise
        messages.put(error)
        raise
