"""``dpc retrain``: backbone and cell, end to end."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console

from data.datasets.contract import SegmentationDataset
from models.export import export_model
from models.segmenter import Segmenter
from models.settings import BackboneSettings
from models.spec import CellSpec
from search.config import Config, ConfigError
from search.deciding.space import AnyCell, CellSpace
from search.findings.leaderboard import percent
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cluster import connect
from search.running.resources import Resources
from search.session.named_cells import read_cell
from search.session.nodes import DATA, join_cluster
from search.session.progress import LazyBar, progress_bar
from search.session.tracking import tracking_settings
from search.tracking.params import child_run_cell
from search.tracking.retrain_run import RetrainRun
from training.distributed import retrain_on_cluster
from training.end_to_end import Validation, retrain
from training.settings import RetrainSettings

EXAMPLE_PX = (65, 97)
"""Size of the image that goes with a registered model."""


def run(config: Config) -> int:
    """Train the chosen cell and say how it scores and where the model lies."""
    console = Console(highlight=False)
    cell, origin = _source(config)
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    backbone = config.build("backbone", BackboneSettings)
    settings = config.build("training", RetrainSettings)
    seed = config.value("seed", int)
    name = config.optional("name", str) or dataset.info.name
    folder = config.value("output_dir", Path).resolve() / name / f"retrain-{cell.digest}"
    registered = config.optional("register", str)
    if registered and not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        raise ConfigError("register: a registered model is an ONNX file; pip install '.[export]' in the checkout first.")
    console.print(f"Retraining {origin}: {cell}", soft_wrap=True)
    recorded = {"origin": origin, **config.plain("seed", "training", "dataset", "backbone")}
    best = None
    with RetrainRun(
        tracking_settings(config), f"retrain {cell.digest[:8]}", str(folder), recorded, cell, warn=console.print
    ) as tracked:
        with progress_bar(console, "validation") as progress:
            for reached in _reached(config, cell, dataset, backbone, settings, seed, folder, progress):
                tracked.log({"miou": reached.scores.miou, "loss": reached.loss}, step=reached.iteration)
                mark = " (best so far)" if reached.is_best else ""
                console.print(
                    f"iteration {reached.iteration:>6}/{settings.iterations}  loss {reached.loss:.4f}  "
                    f"{settings.val_split} mIoU {percent(reached.scores.miou)}{mark}"
                )
                best = reached if reached.is_best else best
        tracked.artifacts(folder)
        if registered:
            _register(tracked, folder, registered)
    assert best is not None
    _print_iou(asdict(best.scores)["iou"], console)
    console.print(f"{'best mIoU':<11}{percent(best.scores.miou)} at iteration {best.iteration}")
    console.print(f"{'model':<11}{folder}", soft_wrap=True)
    return 0


def _register(tracked: RetrainRun, folder: Path, name: str) -> None:
    """Export the best model and put it into the registry; types and shapes of an example are its signature."""
    model = Segmenter.from_pretrained(folder).eval()
    export_model(model, folder / "model.onnx", "onnx")
    images_BCHW = np.random.default_rng(0).uniform(0, 255, (1, 3, *EXAMPLE_PX)).astype(np.float32)
    logits_BKHW = np.zeros((1, len(model.class_names), *EXAMPLE_PX), np.float32)
    tracked.register(folder / "model.onnx", name, images_BCHW, logits_BKHW)


def _reached(
    config: Config,
    cell: CellSpec,
    dataset: SegmentationDataset,
    backbone: BackboneSettings,
    settings: RetrainSettings,
    seed: int,
    folder: Path,
    progress: LazyBar,
) -> Iterator[Validation]:
    """The training's validations, of this process or of several on the cluster."""
    processes = config.value("data_parallel", int)
    if processes < 1:
        raise ConfigError(f"data_parallel: must be at least 1, got {processes}.")
    if processes == 1:
        return retrain(cell, dataset, backbone, settings, seed, folder, progress)
    resources = config.build("resources", Resources)
    join_cluster(config, ("output_dir",), DATA)
    connect(config.optional("ray.address", str))
    retries = config.build("faults", FaultTolerance).retries
    each, labels = resources.bundle, resources.label_selector
    return retrain_on_cluster(cell, dataset, backbone, settings, seed, folder, processes, each, retries, labels)


def _source(config: Config) -> tuple[CellSpec, str]:
    """The cell to train and where it is from.

    Raises:
        ConfigError: not exactly one of ``from``, ``run`` and ``cell`` is given, or it has no such cell.
    """
    given = [key for key in ("from", "run", "cell") if key in config]
    if len(given) != 1:
        raise ConfigError(
            "cell: give one of from=<search> (with rank=1), run=<MLflow run id> or cell=<name or JSON file>, "
            f"got {' and '.join(given) or 'none'}."
        )
    space = config.build("space", CellSpace | AnyCell)
    if given == ["cell"]:
        name = config.value("cell", str)
        return read_cell(name, space), f"cell {name}"
    if given == ["run"]:
        run = config.value("run", str)
        kept, digest = child_run_cell(run, str(tracking_settings(config).uri))
        cell = space.parse(kept)
        cell.check_digest(digest)
        return cell, f"MLflow run {run}"
    return _ranked(config, space)


def _ranked(config: Config, space: CellSpace | AnyCell) -> tuple[CellSpec, str]:
    name, rank = config.value("from", str), config.value("rank", int)
    path = config.value("output_dir", Path) / name / "journal.jsonl"
    if not path.is_file():
        raise ConfigError(f"from: no search {name!r}, {path} does not exist.")
    kinds = space.operator_kinds if isinstance(space, CellSpace) else ()
    events, _ = read_events(path, operators=kinds) if kinds else read_events(path)
    scored = [trial for trial in SearchRecord(events).leaderboard() if trial.miou is not None]
    if not 1 <= rank <= len(scored):
        raise ConfigError(f"rank: search {name} has ranks 1 to {len(scored)}, got {rank}.")
    trial = scored[rank - 1]
    return trial.cell, f"rank {rank} of search {name} ({percent(trial.miou)} mIoU by proxy)"


def _print_iou(iou: dict[str, float | None], console: Console) -> None:
    for name, value in iou.items():
        console.print(f"  {name:<24}{percent(value):>6}")
