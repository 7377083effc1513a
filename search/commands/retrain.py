"""``dpc retrain``: backbone and cell, end to end."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from data.datasets.contract import DatasetError, SegmentationDataset
from data.system.errors import UserError
from data.system.files import write_text
from data.system.json_file import read_json
from models.backbones import feature_shape
from models.cost import cell_cost
from models.export import export_model
from models.segmenter import Segmenter
from models.spec import CellSpec
from search.deciding.space import AnyCell, CellSpace
from search.findings.training_course import CoursePoint, write_course
from search.session.backbone import backbone_of
from search.session.folder import ID_FILE, alone_in, id_of
from search.session.glimpses import Glimpses
from search.session.hints import naming_check_data
from search.session.joining import join, join_cluster
from search.session.saved_model import load_model
from search.session.session import check_workplace
from search.session.training_data import read_by_training, refuse_unfit, why_not_scored
from search.settings.retrain import Chosen, RetrainCommandSettings
from search.tracking.params import child_run_cell, percentage
from search.tracking.retrain_run import RetrainRun
from search.tracking.settings import Tracking
from search.views.console import plain_console
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.training_course import draw_training
from search.views.model_card import PICTURE, model_card
from search.views.progress_bar import progress_bar
from search.views.training import TrainingDisplay
from search.wording import percent
from training.device import given_device, why_no_gpu
from training.distributed import retrain_on_cluster
from training.end_to_end import STATE_FILE, EndToEndTask, Hooks, Validation, retrain
from training.evaluation import Scores, evaluate
from training.loop import Progress
from training.settings import RetrainSettings

EXAMPLE_PX = (65, 97)
"""Size of the image that goes with a registered model."""
NO_FINAL = "no score on a split kept out of selection: "
UNTRACKED = (STATE_FILE, ID_FILE)
"""Files beside a model that are of use to this folder alone; the first has three times the model's size."""


def run(settings: RetrainCommandSettings) -> int:
    """Train the chosen cell and say how it scores and where the model lies."""
    console = plain_console()
    tracking = settings.tracking.resolved(settings.workplace.output_dir)
    chosen = settings.source if isinstance(settings.source, Chosen) else _of_run(settings.source.run, settings.space, tracking)
    folder = settings.workplace.output_dir / settings.name / f"retrain-{chosen.cell.digest}"
    title = f"retrain {chosen.cell.digest[:8]}"
    console.print(f"Retraining {chosen.origin} on {_place(settings)}: {chosen.cell}", soft_wrap=True)
    backbone = backbone_of(settings.images, console)
    with alone_in(folder), ExitStack() as stack:
        why_no_final = _looked_through(settings, console)
        data = read_by_training(settings.images, (settings.training.train_split, settings.training.val_split))
        task = EndToEndTask(settings.images.dataset, backbone, settings.training, data)
        recorded = {**settings.recorded, "backbone": asdict(backbone), "data": data}
        tags, best, course = {"origin": chosen.origin}, None, list[CoursePoint]()
        run = RetrainRun(tracking, title, id_of(folder), recorded, chosen.cell, tags=tags, warn=console.print)
        tracked = stack.enter_context(run)
        training, keep = settings.training, partial(tracked.picture, "validation")
        look = Glimpses(settings.images.dataset, training.val_split, training.iterations, keep)
        with TrainingDisplay(console, training.iterations) as display:
            for reached in _reached(settings, task, chosen.cell, folder, display, tracked):
                tracked.log({"miou_percent": percentage(reached.scores.miou), "loss": reached.loss}, step=reached.iteration)
                mark = " (best so far)" if reached.is_best else ""
                console.print(
                    f"iteration {reached.iteration:>6}/{settings.training.iterations}  loss {reached.loss:.4f}  "
                    f"{settings.training.val_split} mIoU {percent(reached.scores.miou)}{mark}"
                )
                best = reached if reached.is_best else best
                look(reached)
                course.append(CoursePoint(reached.iteration, reached.loss, reached.scores.miou, dict(reached.scores.iou)))
                write_course(folder, course)
        draw_training(course, folder / "course.png", title)
        assert best is not None
        model = load_model(folder, settings.space.operator_kinds)
        final, scores = _final(settings, why_no_final, model, folder, console)
        found = {"best_miou_percent": best.scores} | ({"final_miou_percent": scores} if scores else {})
        tracked.log({name: percentage(score.miou) for name, score in found.items()}, step=best.iteration)
        _write_card(settings, chosen, recorded, best, final, model, folder)
        tracked.artifacts([file for file in sorted(folder.iterdir()) if file.is_file() and file.name not in UNTRACKED])
        if settings.register:
            _register(tracked, model.cpu(), folder, settings.register)
    _print_iou(asdict(best.scores)["iou"], console)
    console.print(f"{'best mIoU':<11}{percent(best.scores.miou)} at iteration {best.iteration} {_selected(settings.training)}")
    console.print(final)
    console.print(f"{'model':<11}{folder}", soft_wrap=True)
    return 1 if tracked.refused else 0


def _place(settings: RetrainCommandSettings) -> str:
    """Where it trains, for people.

    Raises:
        UserError: it shall have a GPU, and there is none.
    """
    if settings.data_parallel > 1:
        check_workplace(settings.workplace)
        return f"{settings.data_parallel} processes"
    if settings.workplace.resources.gpu and not torch.cuda.is_available():
        raise UserError(f"resources.gpu: this process trains, and has no GPU ({why_no_gpu()}); 0 trains on the CPU.")
    device = given_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


def _write_card(
    settings: RetrainCommandSettings,
    chosen: Chosen,
    recorded: Mapping[str, Any],
    best: Validation,
    final: str,
    model: Segmenter,
    folder: Path,
) -> None:
    """What a person should know of the model, beside it."""
    training, scores = settings.training, best.scores
    features = feature_shape(model.encoder, training.cell.output_stride, training.height_px, training.width_px)
    cost = cell_cost(chosen.cell, features, training.cell.filters)
    chosen_by = f"{percent(scores.miou)} % mIoU at iteration {best.iteration:,} {_selected(training)}"
    selected = f"{chosen_by}. {' '.join(final.split())}."
    draw_cell(chosen.cell, folder / PICTURE)
    card = model_card(chosen.cell, chosen.origin, cost, scores.iou, scores.miou, selected, recorded)
    write_text(folder / "README.md", card)


def _selected(training: RetrainSettings) -> str:
    """What the number of the best step is good for."""
    several = f", the best of {len(training.stops)} steps" if len(training.stops) > 1 else ""
    return f"on {training.val_split}{several}: selected on, here or by dpc rerank"


def _looked_through(settings: RetrainCommandSettings, console: Console) -> str:
    """Why no split kept out of selection scores the kept model, said now and not after the training; empty where one does.

    Raises:
        DatasetError: a sample cannot be read, splits share images, or no score on the one to validate on would say anything.
    """
    images, name = settings.images, settings.final_split
    why = "final_split=null" if name is None else _why_missing(images.dataset, name)
    refuse_unfit(images, settings.training, console, [] if why else [str(name)])
    if not why:
        with naming_check_data(images.overrides, [str(name)]):
            unscorable = why_not_scored(images, str(name), console)
        why = unscorable and f"{images.dataset.info.name}, {name}: {unscorable}"
    if why and name is not None:
        console.print(f"Warning: {NO_FINAL}{why}", soft_wrap=True, markup=False)
    return why


def _why_missing(dataset: SegmentationDataset, split_name: str) -> str:
    try:
        dataset.split(split_name)
    except DatasetError as error:
        return str(error)
    return ""


def _final(
    settings: RetrainCommandSettings, why_none: str, model: Segmenter, folder: Path, console: Console
) -> tuple[str, Scores | None]:
    """The kept model's score where nothing was selected, in words and also in its ``scores.json``; or why there is none."""
    name, dataset = str(settings.final_split), settings.images.dataset
    if why_none:
        return NO_FINAL + why_none, None
    try:
        with progress_bar(console, f"scoring {name}") as progress:
            scores = evaluate(model, dataset.split(name), dataset.info, progress)
    except UserError as error:  # a file that was damaged meanwhile costs this number, not the model
        return NO_FINAL + str(error), None
    path = folder / "scores.json"
    kept = read_json(path) | {"final": {"split": name, **asdict(scores)}}
    write_text(path, json.dumps(kept, indent=2) + "\n")
    return f"{'mIoU':<11}{percent(scores.miou)} on {name}, which was kept out of selection", scores


def _register(tracked: RetrainRun, model: Segmenter, folder: Path, name: str) -> None:
    """Export the best model and put it into the registry."""
    export_model(model, folder / "model.onnx", "onnx")
    images_BCHW = np.random.default_rng(0).uniform(0, 255, (1, 3, *EXAMPLE_PX)).astype(np.float32)
    tracked.register(folder / "model.onnx", name, images_BCHW, len(model.class_names))


def _reached(
    settings: RetrainCommandSettings,
    task: EndToEndTask,
    cell: CellSpec,
    folder: Path,
    display: TrainingDisplay,
    tracked: RetrainRun,
) -> Iterator[Validation]:
    """The training's validations, of this process or of several on the cluster."""
    workplace, seed = settings.workplace, settings.seed
    optimizer, iterations = settings.training.optimizer, settings.training.iterations

    def trained(progress: Progress) -> None:
        display.trained(progress.iteration, progress.loss)
        rate = optimizer.learning_rate_at(progress.iteration - 1, iterations)
        tracked.log({"training_loss": progress.loss, "learning_rate": rate}, step=progress.iteration)

    if settings.data_parallel == 1:
        return retrain(task, cell, seed, folder, hooks=Hooks(trained, display.validated))
    join_cluster(workplace, {"output_dir": workplace.output_dir}, settings.images.paths)
    join(workplace)
    return retrain_on_cluster(
        task,
        cell,
        seed,
        folder,
        workers=settings.data_parallel,
        resources=workplace.resources.bundle,
        retries=workplace.faults.retries,
        labels=workplace.resources.label_selector,
        tell=trained,
    )


def _of_run(run: str, space: CellSpace | AnyCell, tracking: Tracking) -> Chosen:
    kept, digest = child_run_cell(run, str(tracking.uri))
    cell = space.parse(kept)
    cell.check_digest(digest)
    return Chosen(cell, f"MLflow run {run}")


def _print_iou(iou: dict[str, float | None], console: Console) -> None:
    for name, value in iou.items():
        console.print(f"  {name:<24}{percent(value):>6}")
