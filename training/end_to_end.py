"""Training backbone and cell end to end, on images: an interruption costs no more than the steps since the last validation."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.datasets.contract import SegmentationDataset
from data.system.files import write_text
from models.segmenter import Segmenter
from models.settings import BackboneSettings
from models.spec import CellSpec
from training.allocator import keep_freed_memory
from training.augmented import image_batches
from training.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from training.class_weights import weighing_of
from training.evaluation import Scores, evaluate
from training.loop import Progress, train
from training.losses import Weighing, segmentation_loss, total_weight, warm_up
from training.optim import build_optimizer
from training.origin import check_origin, origin_of
from training.recalibration import recalibrate
from training.score import RungScore
from training.settings import RetrainSettings
from training.trained_model import TrainedModel
from training.whole_step import whole_step
from training.workers import ALONE, Workers

STATE_FILE = "state.safetensors"


@dataclass(frozen=True, slots=True)
class Validation:
    """A model in training, scored.

    Attributes:
        is_best: whether no earlier validation found as much.
        model: as it was scored; None where a resumed training repeats what it found before.
    """

    iteration: int
    loss: float
    scores: Scores
    elapsed_s: float
    is_best: bool
    model: Segmenter | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is called while a model trains.

    Attributes:
        trained: told where the training stands, every 50 iterations.
        validated: told the images of a validation that are done, and their total.
    """

    trained: Callable[[Progress], object] = lambda progress: None
    validated: Callable[[int, int], None] = lambda done, total: None


SILENT = Hooks()


@dataclass(frozen=True)
class EndToEndTask:
    """Scores a cell by an end-to-end training: what a study runs to rank the best cells again.

    Attributes:
        data: digests of all that the training reads, where the checkpoint's name does not tell them: with other data it does
            not go on.
    """

    dataset: SegmentationDataset
    backbone: BackboneSettings
    settings: RetrainSettings
    data: Mapping[str, str] | None = None

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """As ``training.proxy.ProxyTask``, with a rung at each of ``settings.stops``."""
        for rung, validation in enumerate(self.validations(cell, seed, checkpoint), start=1):
            yield RungScore(rung, validation.iteration, validation.scores.miou, validation.loss, validation.elapsed_s)

    def validations(
        self,
        cell: CellSpec,
        seed: int,
        checkpoint: Path | None = None,
        *,
        keep: Callable[[Validation], object] = lambda validation: None,
        hooks: Hooks = SILENT,
        workers: Workers = ALONE,
    ) -> Iterator[Validation]:
        """Train a model with ``cell`` on one split and score it on another, by default ``val``, at each of ``settings.stops``.

        Args:
            checkpoint: where the state is kept between stops. If there is one, earlier validations are yielded again and
                training resumes from there, with the steps that it would have taken; the last stop leaves it behind.
            keep: called with each validation that is new before the state tells that it is done, and before it is yielded.
            workers: the processes that share each batch and the images of a validation; all but the first yield nothing.

        Raises:
            ValueError: the checkpoint is of another cell or seed, other settings or data.
            DivergedError: the loss is no longer a number.
        """
        dataset, backbone, settings = self.dataset, self.backbone, self.settings
        classes = dataset.info
        keep_freed_memory()
        warm_up(workers.device, classes.num_classes)
        started_s = time.monotonic()
        torch.manual_seed(seed)
        trained = TrainedModel(cell, classes, backbone, settings, workers)
        rates = {"segmenter.encoder.": settings.backbone_rate, "": settings.head_rate}
        optimizer = build_optimizer(settings.optimizer, trained.whole, rates)
        origin = origin_of(cell, seed, settings, backbone, self.data)
        history = _resume(checkpoint, trained.states, optimizer, origin)
        if workers.rank == 0:
            yield from history
        before_s, start = (history[-1].elapsed_s, history[-1].iteration) if history else (0.0, 0)
        if settings.recalibrate and start == 0:
            recalibrate(trained.model.encoder, self._images(seed, workers.device))
        weighing = weighing_of(settings.loss, dataset, settings.train_split, workers.device)
        step = whole_step(
            workers.wrap(trained.whole),
            optimizer,
            settings,
            image_batches(dataset, backbone, settings, seed, start, workers),
            _loss_of(classes.ignore_label, weighing, settings.auxiliary, workers),
            workers.device,
        )
        scored, val = trained.scored, dataset.split(settings.val_split)
        stops = train(
            trained.model,
            _shared(step, workers, trained),
            seed,
            settings.stops,
            start,
            set_mode=trained.set_mode,
            tell=hooks.trained,
            rank=workers.rank,
        )
        for stop in stops:
            workers.adopt_buffers(scored)
            scores = evaluate(scored, val, classes, hooks.validated, workers=workers)
            if workers.rank > 0:
                continue
            elapsed_s = before_s + time.monotonic() - started_s
            is_best = scores.miou > max((earlier.scores.miou for earlier in history), default=-1.0)
            history.append(Validation(stop.iteration, stop.loss, scores, elapsed_s, is_best, scored))
            keep(history[-1])
            if checkpoint:
                validations = [asdict(replace(validation, model=None)) for validation in history]
                try:
                    save_checkpoint(checkpoint, trained.states, [optimizer], {"origin": origin, "validations": validations})
                except OSError:  # it costs no score
                    yield history[-1]
                    raise
            yield history[-1]

    def _images(self, seed: int, device: torch.device) -> Iterator[Tensor]:
        """The first batches of a training, whole, whoever shares it: all get the same statistics."""
        number = self.settings.recalibrate
        settings = replace(self.settings, iterations=max(number, self.settings.iterations))
        batch_at = image_batches(self.dataset, self.backbone, settings, seed, 0, ALONE)
        return (batch_at(place)[0].to(device) for place in range(number))


def retrain(
    task: EndToEndTask, cell: CellSpec, seed: int, folder: Path, *, hooks: Hooks = SILENT, workers: Workers = ALONE
) -> Iterator[Validation]:
    """The task's validations, with the best model on ``val`` kept in ``folder``.

    Args:
        folder: receives ``model.safetensors`` of the best model and ``scores.json`` beside it; a training that was interrupted
            resumes from its ``state.safetensors``.
    """

    def keep(validation: Validation) -> None:
        if validation.is_best and validation.model is not None:
            validation.model.save_pretrained(folder)
            record = {"iteration": validation.iteration, "digest": cell.digest, **asdict(validation.scores)}
            write_text(folder / "scores.json", json.dumps(record, indent=2) + "\n")

    return task.validations(cell, seed, folder / STATE_FILE, keep=keep, hooks=hooks, workers=workers)


def _resume(
    checkpoint: Path | None, states: nn.Module, optimizer: torch.optim.Optimizer, origin: Mapping[str, Any]
) -> list[Validation]:
    """The validations of the training that ``checkpoint`` holds, with its state loaded; none where there is no whole one."""
    metadata = read_metadata(checkpoint) if checkpoint else None
    if metadata is None or checkpoint is None:
        return []
    check_origin(checkpoint, metadata["origin"], origin)
    loaded = load_checkpoint(checkpoint, states, [optimizer])
    if loaded is None:
        return []
    return [Validation(**{**fields, "scores": Scores(**fields["scores"])}) for fields in loaded["validations"]]


def _shared(step: Callable[[int], Tensor], workers: Workers, trained: TrainedModel) -> Callable[[int], Tensor]:
    """The step with the loss of all workers, after which the average of the weights follows the model."""

    def shared(iteration: int) -> Tensor:
        loss = workers.sum(step(iteration)) / workers.size
        trained.follow()
        return loss

    return shared


def _loss_of(
    ignore_label: int, weighing: Weighing, auxiliary: float, workers: Workers
) -> Callable[[Tensor | tuple[Tensor, Tensor], Tensor], Tensor]:
    """Of logits, or of the model's and those of its auxiliary head, and labels.

    What workers find has the mean, over all pixels of all, as its own.
    """
    of_logits = partial(segmentation_loss, ignore_label=ignore_label, weighing=weighing)

    def loss_of(logits: Tensor | tuple[Tensor, Tensor], labels_BHW: Tensor) -> Tensor:
        main_BKhw, *others = logits if isinstance(logits, tuple) else (logits,)
        loss = of_logits(main_BKhw, labels_BHW)
        for other_BKhw in others:
            loss = loss + auxiliary * of_logits(other_BKhw, labels_BHW)
        if workers.size == 1:
            return loss
        weight = total_weight(labels_BHW, ignore_label, weighing)
        of_all = workers.sum(weight)
        return loss * (workers.size * weight / of_all.where(of_all > 0, 1))

    return loss_of
