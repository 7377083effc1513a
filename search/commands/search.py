"""``dpc search``: the main job."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from models.pretrained import settle
from search.findings.failures import failures, no_score_code
from search.findings.rung_correlations import rung_correlations
from search.findings.search_noise import search_noise
from search.findings.what_mattered import what_mattered
from search.journal.events import SearchOpened, now_s
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.session.beginning import Beginning
from search.session.code_version import search_code
from search.session.conf_choices import retrain_best
from search.session.hints import from_here, print_lines, program
from search.session.machine import hardware_like, machine
from search.session.scoring import Scoring, by_objective, by_proxy
from search.session.session import Session, check_workplace
from search.settings.groups import SHARED
from search.settings.report import ReportSettings
from search.settings.search import SearchSettings
from search.views.console import plain_console, print_table
from search.views.leaderboard import leaderboard_table
from search.wording import percent


def run(settings: SearchSettings) -> int:
    """Search, or resume the search of that name, and show the leaderboard."""
    console = plain_console()
    name, folder, workplace = settings.name, settings.folder, settings.workplace
    check_workplace(workplace)
    if table := settings.deciding.timed:
        table.check_hardware(settings.deciding.latency.hardware or hardware_like(table))
    scoring = _scoring(settings, console)
    plan = replace(settings.deciding.plan(scoring.features), repeats=settings.repeats)
    plan.check_costs()
    fingerprint = {**scoring.fingerprint, **settings.fingerprint, "search_code": search_code(plan)}
    recorded = {**settings.fingerprint, **settings.recorded, **_backbone(settings), "machine": machine()}
    beginning = Beginning(
        plan=plan,
        opened=SearchOpened(name, fingerprint, recorded, now_s()),
        cure=f"another name=..., which starts from its cells with fork=true from={name}",
        accept=settings.accept,
        parent=settings.parent,
        rescore=settings.fork_rescore,
    )
    session = Session(
        folder=folder,
        beginning=beginning,
        task=scoring.task,
        workplace=workplace,
        tracking=settings.tracking.resolved(workplace.output_dir),
        console=console,
        title=f"Search {name}: {plan.trials} of {plan.space.size:,} encodings, {plan.space.num_distinct:,} different cells",
        timeout_s=settings.timeout_s,
        retry_failed=settings.retry_failed,
        resume=settings.resume,
        write_results=partial(_write_results, settings=settings.report),
    )
    study, dashboard = session.run()
    _report(study, folder, dashboard, settings.overrides.arguments(*SHARED), console)
    return session.conclude(study) or no_score_code([study.record])


def _scoring(settings: SearchSettings, console: Console) -> Scoring:
    deciding = settings.deciding
    if settings.task is None:
        return by_proxy(deciding.proxy, deciding.space, settings.images, settings.workplace, console)
    return by_objective(settings.task, deciding.proxy.rungs, deciding.proxy.cell.filters, settings.workplace)


def _backbone(settings: SearchSettings) -> dict[str, Any]:
    return {"backbone": settle(settings.images.backbone).record} if settings.task is None else {}


def _write_results(record: SearchRecord, settings: ReportSettings) -> None:
    from search.session.results import write_results

    write_results(record, settings)


def _report(study: Study, folder: Path, dashboard: Mapping[str, str], shared: Sequence[str], console: Console) -> None:
    """The leaderboard, where things lie, and what to run next."""
    console.print()
    best, opened, failed = study.record.best, study.record.opened, failures([study.record])
    if best is None or opened is None:
        if failed:
            console.print(f"No cell has a score: {failed}.", soft_wrap=True, markup=False)
        return
    if failed:
        console.print(f"Without a score: {failed}.\n", soft_wrap=True, markup=False)
    print_table(leaderboard_table(study.record), console)
    console.print(f"\nBest cell: {best.cell}", soft_wrap=True)
    console.print(_spread(study.record), soft_wrap=True)
    if noise := search_noise(study.record):
        console.print(f"{noise.text()}\n", soft_wrap=True)
    if not study.is_complete:
        return
    if mattered := what_mattered(study.record):
        console.print(f"What mattered: {mattered.text()}\n", soft_wrap=True)
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "best_cell.png"),
        "report": from_here(folder / "report.html"),
        **dashboard,
        "next": shlex.join([program("dpc"), *retrain_best(shared, opened, folder.name)]),
    }
    print_lines(lines, console)


def _spread(record: SearchRecord) -> str:
    """Best and median of the trials that ran their full budget, which alone are comparable; and how early scores fared."""
    mious = [trial.score for trial in record.completed()]
    if not mious:
        return ""
    lines = [f"mIoU of the {len(mious)} completed: best {percent(max(mious))} (selected on), median {percent(median(mious))}"]
    rungs = [f"{rung.rho:.2f} at iteration {rung.iteration}" for rung in rung_correlations(record)]
    if rungs:
        lines.append(f"Their rank correlation with the last rung: {', '.join(rungs)}")
    return "\n".join(lines) + "\n"
