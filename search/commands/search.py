"""``dpc search``: the main job."""

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from models.cost import FeatureShape
from search.config import Config, ConfigError, load
from search.deciding.outcomes import Status
from search.findings.leaderboard import leaderboard_table, percent, write_leaderboard
from search.findings.rank_correlation import rung_correlations
from search.journal.events import SearchOpened, now_s
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.session.code_version import search_code
from search.session.execute import check_running, execute, exit_code
from search.session.hints import SHARED, from_here, overrides_of, print_lines, program
from search.session.plan import DECIDING, build_plan
from search.session.report import write_report
from search.session.scoring import by_proxy
from search.session.tracking import tracking_settings
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.progress import draw_progress
from training.settings import ProxySettings


def run(config: Config) -> int:
    """Search, or go on with the search of that name, and show the leaderboard."""
    console = Console(highlight=False)
    name = config.value("name", str)
    folder = config.value("output_dir", Path).resolve() / name
    parent = _parent(config, folder)
    config.build("proxy", ProxySettings)
    check_running(config)
    tracking_settings(config)
    build_plan(config, FeatureShape(1, 1, 1))  # whatever is wrong is said before features are extracted

    scoring = by_proxy(config, console)
    plan = build_plan(config, scoring.features)
    plan.budget.check(plan.space, plan.cost_of)
    fingerprint = {**scoring.fingerprint, **config.plain(*DECIDING), "search_code": search_code()}
    opened = SearchOpened(name, fingerprint, _settings(config), now_s())
    of_report = load("report", [f"name={name}", *overrides_of(config, *SHARED)], config.config_dir)
    write = partial(_write_results, folder=folder, of_report=of_report)
    title = f"Search {name}: {plan.trials} of {plan.space.size:,} encodings, {plan.space.num_distinct:,} different cells"
    cure = f"another name=..., which goes on from its cells with fork=true from={name}"
    study, dashboard = execute(config, plan, opened, scoring.task, folder, title, cure, console, parent, write)
    _report(study, folder, dashboard, config, console)
    return exit_code(study, folder, console)


def _settings(config: Config) -> dict[str, Any]:
    """What is recorded for people, beside the fingerprint."""
    return config.plain(*DECIDING, "trials", "dataset", "backbone", "cache", "fork", "from")


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


def _write_results(record: SearchRecord, folder: Path, of_report: Config) -> None:
    write_leaderboard(record, folder)
    draw_progress(record, folder / "progress.png", record.opened.name if record.opened else "")
    best = record.best
    if best is not None and best.miou is not None:
        draw_cell(best.cell, folder / "best_cell.png", f"{best.cell.digest}: {percent(best.miou)} mIoU")
    write_report(of_report)


def _report(study: Study, folder: Path, dashboard: Mapping[str, str], config: Config, console: Console) -> None:
    """The leaderboard, where things lie, and what to run next."""
    console.print()
    if study.record.best is not None:
        console.print(leaderboard_table(study.record))
        console.print(f"\nBest cell: {study.record.best.cell}", soft_wrap=True)
        console.print(_spread(study.record), soft_wrap=True)
    if not study.is_complete:
        return
    kept = overrides_of(config, *SHARED)
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "best_cell.png"),
        "report": from_here(folder / "report.html"),
        **dashboard,
        "next": shlex.join([program("dpc"), "retrain", *kept, f"from={folder.name}", "rank=1"]),
    }
    print_lines(lines, console)


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
