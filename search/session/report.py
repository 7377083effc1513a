"""The page of a search: written by ``dpc report``, and by a running search from time to time."""

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from data.system.files import write_text
from models.cost import cell_cost
from search.deciding.algorithms.pareto import Cost
from search.deciding.outcomes import Status
from search.deciding.space import CellSpace
from search.findings.contributions import model_contributions
from search.findings.control import Control, control
from search.findings.cost_front import Landmark, cost_front, landmarks
from search.findings.leaderboard import is_timed, percent
from search.findings.operator_usage import operator_usage
from search.findings.search_noise import search_noise
from search.findings.two_rankings import reranked
from search.findings.what_mattered import what_mattered
from search.journal.folder import JOURNAL, KeptSearch, open_search
from search.journal.lines import read_events
from search.journal.record import SearchRecord, TrialRecord
from search.settings.groups import SHARED
from search.settings.report import ReportSettings
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.contributions import draw_contributions
from search.views.figures.cost_front import draw_cost_fronts
from search.views.figures.operator_usage import draw_operator_usage
from search.views.figures.progress import draw_progress
from search.views.figures.scores import draw_scores
from search.views.figures.two_rankings import Rescored, draw_two_rankings
from search.views.figures.what_mattered import draw_what_mattered
from search.views.report import readings
from search.views.report.checklist import checklist
from search.views.report.course import RungCourse, course, rung_courses
from search.views.report.page import Picture, Report, render
from search.views.report.searched import feature_shape, fingerprint_lines, recorded_space, scope, searched

DRAWN = 3
"""Cells from the top of the leaderboard that have diagrams."""


def write_report(settings: ReportSettings) -> tuple[Path, Report]:
    """Write the page of a search, whatever its state, from its journal."""
    folder, space = settings.folder, settings.space
    search = open_search(folder, space.operator_kinds)
    record, events = search.record, search.events
    gone, rungs = course(events, record), rung_courses(record)
    ranked, noise = [trial for trial in record.leaderboard() if trial.miou is not None], search_noise(record)
    own = _control(search)
    report = Report(
        search.opened.name,
        scope(search.opened),
        readings.state(gone),
        readings.best_cell(record, gone),
        searched(search.opened, record.accepted),
        checklist(search.opened, gone, noise, own),
        gone,
        rungs,
        readings.of_rungs(rungs),
        ranked[: settings.rows],
        noise,
        shlex.join(["dpc", "retrain", *settings.overrides.arguments(*SHARED), f"from={settings.name}", "rank=1"]),
        {
            "progress": [_picture("Progress", partial(draw_progress, record), readings.of_progress(record, own))],
            "scores": _scores(record, ranked, rungs),
            "cells": _cells(ranked),
            "reranked": _reranked(folder, ranked, space),
            "costs": _costs(settings, search),
            "choices": _choices(record),
            "operators": _operators(record, settings.good_share),
            "contributions": _contributions(folder, ranked, space),
        },
        readings.limits(record, gone, noise),
        list(fingerprint_lines(search.opened.fingerprint)),
    )
    page = folder / "report.html"
    write_text(page, render(report))
    return page, report


def _control(search: KeptSearch) -> Control | None:
    """Of the default algorithm alone, in a space that can be made again."""
    known = search.opened.fingerprint
    algorithm, space = known.get("algorithm", {}), recorded_space(known.get("space", {}))
    if space is None or "prior" in known or not str(algorithm.get("kind", "")).endswith("NearBest"):
        return None
    return control(search.record, space, algorithm["near_best"], known["seed"])


def _scores(record: SearchRecord, ranked: Sequence[TrialRecord], rungs: Sequence[RungCourse]) -> list[Picture]:
    if not ranked:
        return []
    return [_picture("Scores at each rung", partial(draw_scores, record), readings.of_scores(record, rungs))]


def _cells(ranked: Sequence[TrialRecord]) -> list[Picture]:
    """The first, and the last that completed."""
    completed = [trial for trial in ranked[DRAWN:] if trial.status == Status.COMPLETED]
    named = [(f"Rank {rank}", trial) for rank, trial in enumerate(ranked[:DRAWN], start=1)]
    named += [("The worst that completed", trial) for trial in completed[-1:]]
    return [
        _picture(f"{name}: {percent(trial.miou)} %", partial(draw_cell, trial.cell), f"{trial.cell}", is_wide=False)
        for name, trial in named
    ]


def _reranked(folder: Path, ranked: Sequence[TrialRecord], space: CellSpace) -> list[Picture]:
    """A picture for each re-ranking of the search's cells, from its journals."""
    pictures = []
    for label in sorted({path.parents[1] for path in folder.glob(f"*/seed-*/{JOURNAL}")}):
        journals = sorted(label.glob(f"seed-*/{JOURNAL}"))
        seeds = [SearchRecord(read_events(path, operators=space.operator_kinds)[0]) for path in journals]
        trained = {trial.cell.digest for seed in seeds for trial in seed.finished}
        chosen = [(rank, trial) for rank, trial in enumerate(ranked, start=1) if trial.cell.digest in trained]
        ranking = reranked(chosen, seeds)
        cells = [Rescored(row.proxy_miou, list(row.by_seed.values()), row.cell.digest[:8]) for row in ranking.compared]
        if cells:
            reading = readings.of_reranked(ranking)
            pictures.append(_picture("Ranked again, end to end", partial(draw_two_rankings, cells), reading))
    return pictures


def _costs(settings: ReportSettings, search: KeptSearch) -> list[Picture]:
    timed: list[Cost] = ["latency_ms"] if is_timed(search.record) else []
    fronts = [cost_front(search.record, cost) for cost in ("madds", "params", *timed)]
    if not fronts[0].completed:
        return []
    known = _landmarks(settings, search)
    draw = partial(draw_cost_fronts, fronts, known)
    return [_picture("mIoU against cost", draw, readings.of_costs(fronts, known))]


def _landmarks(settings: ReportSettings, search: KeptSearch) -> list[Landmark]:
    """Well-known cells on the search's features; none where its journal does not say what those were."""
    shape = feature_shape(search.opened)
    filters = search.opened.fingerprint.get("proxy", {}).get("cell", {}).get("filters")
    if shape is None or filters is None:
        return []
    cost_of = partial(cell_cost, features=shape, filters=filters)
    return landmarks(search.record, settings.landmark_cells, cost_of, settings.landmarks)


def _choices(record: SearchRecord) -> list[Picture]:
    found = what_mattered(record)
    return [_picture("What mattered", partial(draw_what_mattered, found), found.text())] if found else []


def _operators(record: SearchRecord, good_share: float) -> list[Picture]:
    usage = operator_usage(record, good_share)
    if usage is None or not usage.is_telling:
        return []
    return [_picture("Operators of good cells", partial(draw_operator_usage, usage), readings.of_operators(usage))]


def _contributions(folder: Path, ranked: Sequence[TrialRecord], space: CellSpace) -> list[Picture]:
    """Those of the best cells that were retrained."""
    models = [folder / f"retrain-{trial.cell.digest}" / "model.safetensors" for trial in ranked]
    pictures = []
    for path in [path for path in models if path.is_file()][:DRAWN]:
        found = model_contributions(path, space.operator_kinds)
        draw = partial(draw_contributions, found)
        pictures.append(_picture(f"Branches of {found.cell.digest}", draw, readings.of_contributions(found)))
    return pictures


def _picture(title: str, draw: Callable[[Path], None], reading: str, is_wide: bool = True) -> Picture:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        draw(path)
        return Picture(title, path.read_bytes(), reading, is_wide)
