"""``dpc search``: the main job."""

import os
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from data.feature_cache import FeatureCache
from models.cost import FeatureShape, cell_cost
from search.algorithms.base import Algorithm
from search.commands.cache import build_caches
from search.commands.hints import from_here, program
from search.commands.track import dashboard, follow, tracking_settings
from search.config import Config, ConfigError
from search.display import SearchDisplay
from search.evaluation import Status
from search.figures import draw_cell, draw_progress
from search.journal import Journal, SearchOpened, now_s
from search.leaderboard import leaderboard_table, percent, write_leaderboard
from search.record import SearchRecord
from search.resources import Resources
from search.schedulers import Asha, Hyperband, MedianStopping, NoStopping
from search.space import CellSpace
from search.study import Plan, Study
from search.tuning.cluster import connect
from search.tuning.run import run_study
from training.proxy import ProxySettings, ProxyTask

INTERRUPTED = 130


def run(config: Config) -> int:
    """Search, or go on with the search of that name, and show the leaderboard."""
    console = Console(highlight=False)
    name = config.value("name", str)
    folder = config.value("output_dir", Path).resolve() / name
    space = config.build("space", CellSpace)
    algorithm = config.build("algorithm", Algorithm)
    scheduler = config.build("scheduler", Asha | Hyperband | MedianStopping | NoStopping)
    proxy = config.build("proxy", ProxySettings)
    resources = config.build("resources", Resources)
    trials, seed = config.value("trials", int), config.value("seed", int)
    address = config.optional("ray.address", str) or os.environ.get("RAY_ADDRESS")
    if address is None:
        resources.check_fits(os.cpu_count() or 1, torch.cuda.device_count(), "this machine")
    tracking = tracking_settings(config)

    caches = build_caches(config, ("search_train", "search_val"), console)
    train, val = caches["search_train"], caches["search_val"]
    features = FeatureShape(train.channels, train.height, train.width)
    plan = Plan(space, algorithm, trials, seed, cost_of=partial(cell_cost, features=features, filters=proxy.cell.filters))
    opened = SearchOpened(name, _fingerprint(config, caches), config.plain(*_RECORDED), now_s())
    with Journal(folder / "journal.jsonl", space.operator_kinds) as journal:
        record = SearchRecord(journal.events)
        _refuse_change(record, opened, folder)
        console.print(_headline(name, space, plan, record), soft_wrap=True)
        with follow(journal.path, tracking, space.operator_kinds, folder, console):
            with SearchDisplay(record, trials, console) as display:
                study = Study(journal, record, plan, opened, on_event=display)
                connect(address)
                run_study(
                    study,
                    ProxyTask(train.folder, val.folder, proxy),
                    scheduler,
                    resources,
                    proxy.rungs,
                    folder / "checkpoints",
                    space.operator_kinds,
                )
            _write_results(record, folder)
    _report(study, folder, dashboard(tracking), config, console)
    return 0 if study.is_complete else INTERRUPTED


_RECORDED = ("seed", "trials", "space", "algorithm", "scheduler", "proxy", "dataset", "backbone", "cache")


def _fingerprint(config: Config, caches: Mapping[str, FeatureCache]) -> dict[str, Any]:
    """All that may not change under one name, or results could not be compared."""
    return {
        **config.plain("space", "proxy", "seed"),
        "features": {split: cache.content for split, cache in caches.items()},
    }


def _refuse_change(record: SearchRecord, opened: SearchOpened, folder: Path) -> None:
    if record.opened is None:
        return
    old, new = _flat(record.opened.fingerprint), _flat(opened.fingerprint)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if changed:
        differences = ", ".join(f"{key} was {old.get(key)} and is {new.get(key)}" for key in changed[:4])
        raise ConfigError(f"name: {folder} holds a search with other settings ({differences}); choose another name=...")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _headline(name: str, space: CellSpace, plan: Plan, record: SearchRecord) -> str:
    size = f"{space.size:,} encodings, {space.num_distinct:,} different cells"
    text = f"Search {name}: {plan.trials} of {size}"
    return f"{text}; {len(record.finished)} are done already" if record.finished else text


def _write_results(record: SearchRecord, folder: Path) -> None:
    write_leaderboard(record, folder)
    draw_progress(record, folder / "progress.png", record.opened.name if record.opened else "")
    best = next(iter(record.leaderboard()), None)
    if best is not None and best.miou is not None:
        draw_cell(best.cell, folder / "best_cell.png", f"{best.cell.digest}: {percent(best.miou)} mIoU")


def _report(study: Study, folder: Path, dashboard_line: str, config: Config, console: Console) -> None:
    """The leaderboard, where things lie, and what to run next."""
    console.print()
    if study.record.finished:
        console.print(leaderboard_table(study.record))
        console.print(f"\nBest cell: {study.record.leaderboard()[0].cell}", soft_wrap=True)
        console.print(_spread(study.record))
    if not study.is_complete:
        console.print(
            f"Stopped with {len(study.record.finished)} of {study.plan.trials} trials done. Nothing is lost: the same "
            f"command goes on from {from_here(folder / 'journal.jsonl')}.",
            soft_wrap=True,
        )
        return
    kept = [text for text in config.overrides if text.split("=")[0].split(".")[0].lstrip("+~") in _SHARED]
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "best_cell.png"),
        "dashboard": dashboard_line,
        "next": shlex.join([program("dpc"), "retrain", *kept, f"from={folder.name}", "rank=1"]),
    }
    for title, text in lines.items():
        console.print(f"{title:<11}{text}", soft_wrap=True)


def _spread(record: SearchRecord) -> str:
    """Best and median of the trials that ran their full budget, which alone are comparable."""
    mious = [trial.miou for trial in record.finished if trial.status == Status.COMPLETED and trial.miou is not None]
    if not mious:
        return ""
    return f"mIoU of the {len(mious)} completed: best {percent(max(mious))}, median {percent(median(mious))}\n"


_SHARED = ("experiment", "dataset", "backbone", "output_dir", "space", "cache")
