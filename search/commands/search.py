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
from models.cost import FeatureShape
from search.code_version import scoring_code, search_code
from search.commands.cache import build_caches
from search.commands.hints import SHARED, from_here, overrides_of, program
from search.commands.plan import DECIDING, build_plan, differences
from search.commands.track import dashboard, follow, tracking_settings
from search.config import Config, ConfigError
from search.disk import DiskPatience
from search.display import SearchDisplay
from search.evaluation import Status
from search.faults import FaultTolerance
from search.figures.cells import draw_cell
from search.figures.progress import draw_progress
from search.fork import inherit
from search.journal import Journal, SearchOpened, now_s
from search.leaderboard import leaderboard_table, percent, write_leaderboard
from search.policy import Plan
from search.rank_correlation import rung_correlations
from search.record import SearchRecord
from search.resources import Resources
from search.space import CellSpace
from search.study import Study
from search.termination import handle_sigterm, interrupted_code
from search.tuning.cluster import connect, slots
from search.tuning.run import run_study
from training.proxy import ProxySettings, ProxyTask

DISK_PATIENCE_S = 3600.0
"""How long a search waits for space on a full disk before it ends."""


def run(config: Config) -> int:
    """Search, or go on with the search of that name, and show the leaderboard."""
    console = Console(highlight=False)
    name = config.value("name", str)
    folder = config.value("output_dir", Path).resolve() / name
    parent = _parent(config, folder)
    proxy = config.build("proxy", ProxySettings)
    resources = config.build("resources", Resources)
    faults = config.build("faults", FaultTolerance)
    address = config.optional("ray.address", str) or os.environ.get("RAY_ADDRESS")
    if address is None:
        resources.check_fits(os.cpu_count() or 1, torch.cuda.device_count(), "this machine")
    tracking = tracking_settings(config)
    build_plan(config, FeatureShape(1, 1, 1))  # whatever is wrong is said before features are extracted

    caches = build_caches(config, ("search_train", "search_val"), console)
    train, val = caches["search_train"], caches["search_val"]
    plan = build_plan(config, FeatureShape(train.channels, train.height, train.width))
    plan.budget.check(plan.space, plan.cost_of)
    space = plan.space
    opened = SearchOpened(name, _fingerprint(config, caches), _settings(config), now_s())
    warn = partial(console.print, soft_wrap=True)
    patience = DiskPatience(DISK_PATIENCE_S, lambda error: warn(f"Waiting for disk space: {error}"))
    with Journal(folder / "journal.jsonl", space.operator_kinds, patience) as journal:
        record = _begin(journal, parent, opened, space)
        warn(_headline(name, space, plan, record))
        with follow(journal.path, tracking, space.operator_kinds, folder, console):
            with SearchDisplay(record, plan.trials, console) as display:
                study = Study(journal, record, plan, opened, on_event=display)
                connect(address)
                handle_sigterm()
                if plan.window is not None and slots(resources) > plan.window:
                    warn(f"window: a deterministic search keeps {plan.window} of {slots(resources)} slots busy at most.")
                task = ProxyTask(train.folder, val.folder, proxy)
                run_study(study, task, resources, faults, folder / "checkpoints", space.operator_kinds)
            patience(lambda: _write_results(record, folder))
    _report(study, folder, dashboard(tracking), config, console)
    return 0 if study.is_complete else interrupted_code()


def _settings(config: Config) -> dict[str, Any]:
    """What is recorded for people, beside the fingerprint."""
    return config.plain(*DECIDING, "trials", "dataset", "backbone", "cache", "fork", "from")


def _fingerprint(config: Config, caches: Mapping[str, FeatureCache]) -> dict[str, Any]:
    """All that may not change under one name, or results could not be compared or reproduced."""
    return {
        **config.plain(*DECIDING),
        "features": {
            **{split: cache.content for split, cache in caches.items()},
            "shape": [caches["search_train"].channels, caches["search_train"].height, caches["search_train"].width],
        },
        "scoring_code": scoring_code(),
        "search_code": search_code(),
    }


def _parent(config: Config, folder: Path) -> Path | None:
    """The journal of the search to fork from, if any."""
    source = config.optional("from", str)
    if not config.value("fork", bool):
        if source is not None:
            raise ConfigError(f"from: only a fork begins with another search's cells; add fork=true, or drop from={source}.")
        return None
    if source is None or source == folder.name:
        raise ConfigError(f"from: a fork needs the name of another search; from={source} name={folder.name} was given.")
    return folder.with_name(source) / "journal.jsonl"


def _begin(journal: Journal, parent: Path | None, opened: SearchOpened, space: CellSpace) -> SearchRecord:
    """What the journal holds, begun with the parent's cells where it is a new fork.

    Raises:
        ConfigError: it holds a search with other settings, or one that is no fork of this parent.
    """
    folder = journal.path.parent
    record = SearchRecord(journal.events)
    if record.opened is None:
        journal.clear()  # a fork that was killed before it was opened begins anew
        inherited = inherit(parent, opened.fingerprint, space, space.operator_kinds) if parent else []
        journal.append(*inherited)
        return SearchRecord(inherited)
    if parent and record.opened.settings.get("from") != parent.parent.name:
        raise ConfigError(f"name: {folder} is no fork of {parent.parent.name}; choose another name=...")
    if changed := differences(record.opened.fingerprint, opened.fingerprint):
        raise ConfigError(
            f"name: {folder} holds a search with other settings ({changed}); choose another name=..., which goes on from "
            f"its cells with fork=true from={folder.name}."
        )
    return record


def _headline(name: str, space: CellSpace, plan: Plan, record: SearchRecord) -> str:
    size = f"{space.size:,} encodings, {space.num_distinct:,} different cells"
    text = f"Search {name}: {plan.trials} of {size}"
    if record.num_inherited:
        text += f"; {_history(record)}"
    return f"{text}; {record.num_ended} are done already" if record.num_ended else text


def _history(record: SearchRecord) -> str:
    trial = record.trials[0]
    text = f"it begins with {record.num_inherited} cells of {trial.source}"
    return text if trial.is_comparable else f"{text}, which were scored otherwise: they guide proposals and are not ranked"


def _write_results(record: SearchRecord, folder: Path) -> None:
    write_leaderboard(record, folder)
    draw_progress(record, folder / "progress.png", record.opened.name if record.opened else "")
    best = record.best
    if best is not None and best.miou is not None:
        draw_cell(best.cell, folder / "best_cell.png", f"{best.cell.digest}: {percent(best.miou)} mIoU")


def _report(study: Study, folder: Path, dashboard_line: str, config: Config, console: Console) -> None:
    """The leaderboard, where things lie, and what to run next."""
    console.print()
    if study.record.best is not None:
        console.print(leaderboard_table(study.record))
        console.print(f"\nBest cell: {study.record.best.cell}", soft_wrap=True)
        console.print(_spread(study.record), soft_wrap=True)
    if not study.is_complete:
        console.print(
            f"Stopped with {study.record.num_ended} of {study.plan.trials} trials done. Nothing is lost: the same "
            f"command goes on from {from_here(folder / 'journal.jsonl')}.",
            soft_wrap=True,
        )
        return
    kept = overrides_of(config, *SHARED)
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "best_cell.png"),
        "dashboard": dashboard_line,
        "next": shlex.join([program("dpc"), "retrain", *kept, f"from={folder.name}", "rank=1"]),
    }
    for title, text in lines.items():
        console.print(f"{title:<11}{text}", soft_wrap=True)


def _spread(record: SearchRecord) -> str:
    """Best and median of the trials that ran their full budget, which alone are comparable; and how early scores fared."""
    mious = [trial.miou for trial in record.leaderboard() if trial.status == Status.COMPLETED and trial.miou is not None]
    if not mious:
        return ""
    lines = [f"mIoU of the {len(mious)} completed: best {percent(max(mious))}, median {percent(median(mious))}"]
    rungs = [f"{rung.rho:.2f} at iteration {rung.iteration}" for rung in rung_correlations(record)]
    if rungs:
        lines.append(f"Their rank correlation with the last rung: {', '.join(rungs)}")
    return "\n".join(lines) + "\n"
