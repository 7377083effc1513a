"""``dpc rerank``: train the best cells of a search end to end, and rank them again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from data.system.files import write_text
from models.pretrained import settle
from models.spec import CellSpec
from search.findings.estimates import mean
from search.findings.failures import failures, no_score_code
from search.findings.search_noise import search_noise
from search.findings.two_rankings import Ranking, proxy_trust, reranked, write_ranking
from search.journal.events import SearchOpened, now_s
from search.journal.folder import JOURNAL
from search.journal.study import Study
from search.overrides import Overrides
from search.session.beginning import Beginning
from search.session.code_version import search_code
from search.session.folder import alone_in
from search.session.hints import from_here, print_lines, program, relative
from search.session.scoring import Scoring, by_training
from search.session.session import Session, check_workplace
from search.session.tracking import attach
from search.settings.groups import SHARED
from search.settings.rerank import RerankSettings
from search.views.console import plain_console, print_table, table_of
from search.wording import percent, quantity

HEADER = ("rank", "mIoU", "shrunk", "sd", "seeds", "proxy rank", "proxy mIoU", "params", "madds", "cell")
ROWS = 10
"""Of the table that is printed."""


def run(settings: RerankSettings) -> int:
    """Train what is not trained yet, and show both rankings side by side."""
    with alone_in(settings.folder):
        return _rank_again(settings)


def _rank_again(settings: RerankSettings) -> int:
    console = plain_console()
    source, folder, workplace = settings.source, settings.folder, settings.workplace
    check_workplace(workplace)
    scoring = by_training(settings.training, settings.space, settings.images, workplace, console)
    cells = [trial.cell for _, trial in settings.chosen]
    best = f"the best cell of {source}" if len(cells) == 1 else f"the {len(cells)} best cells of {source}"
    records = []
    for number in range(settings.seeds):
        title = f"Seed {number + 1} of {settings.seeds}: {best}"
        seed = settings.seed + number
        study, dashboard, code = _train(settings, scoring, cells, seed, folder / f"seed-{number}", title, console)
        if not study.is_complete:
            return code
        records.append(study.record)
    if failed := failures(records):
        console.print(f"\nWithout a score: {failed}.", soft_wrap=True, markup=False)
    if no_score_code(records):
        return 1
    ranking, confirmed = reranked(settings.chosen, records), []
    if not ranking.compared:
        console.print(
            "\nNo training ran to its end, so no cell is ranked; scheduler=none turns early stopping off.", soft_wrap=True
        )
        return 1
    for number in range(settings.confirm):
        winner, seed = ranking.compared[0].cell, settings.seed + settings.seeds + number
        place, title = folder / f"confirm-{winner.digest}-{seed}", f"Fresh seed {number + 1} of {settings.confirm}: the first"
        study, dashboard, code = _train(settings, scoring, [winner], seed, place, title, console)
        if not study.is_complete:
            return code
        confirmed += [trial.score for trial in study.record.scored()]
    _write(ranking, confirmed, folder, source)
    _keep_with_runs(settings, console)
    from search.session.report import write_report

    page, _ = write_report(settings.report)
    said = ranking.verdict()
    if noise := search_noise(settings.search.record):
        said.append(f"By the search's own noise {len(noise.rivals) + 1} cells may be its best: top={len(noise.rivals) + 1}.")
    if confirmed:
        said.append(f"The first under fresh seeds, kept out of selection: {mean(confirmed).text(percent)} %.")
    _report(ranking, said, folder, {"report": from_here(page), **dashboard}, settings.overrides, console)
    return 0


def _train(
    settings: RerankSettings,
    scoring: Scoring,
    cells: Sequence[CellSpec],
    seed: int,
    folder: Path,
    title: str,
    console: Console,
) -> tuple[Study, Mapping[str, str], int]:
    """Each of the cells once, under one seed: the study, lines that open its dashboard, and its exit code."""
    backbone = settle(settings.images.backbone).record
    recorded = {**settings.recorded, "backbone": backbone, "from": settings.source, "stage": "rerank", "seed": seed}
    fingerprint = {**scoring.fingerprint, **settings.fingerprint, "cells": [cell.digest for cell in cells]}
    as_searched = settings.search.features  # so that costs are those of the search
    plan = scoring.plan_of(cells, seed, settings.space, settings.scheduler, as_searched)
    opened = SearchOpened(
        f"{settings.source} re-ranked, seed {seed}",
        fingerprint | {"seed": seed, "search_code": search_code(plan)},
        recorded,
        now_s(),
    )
    session = Session(
        folder=folder,
        beginning=Beginning(plan=plan, opened=opened, cure="another label=...", accept=settings.accept),
        task=scoring.task,
        workplace=settings.workplace,
        tracking=settings.tracking.resolved(settings.workplace.output_dir),
        console=console,
        title=f"{title}, {scoring.rungs[-1]} iterations each",
        retry_failed=settings.retry_failed,
    )
    study, dashboard = session.run()
    return study, dashboard, session.conclude(study)


def _write(ranking: Ranking, confirmed: Sequence[float], folder: Path, source: str) -> None:
    from search.views.figures.two_rankings import Rescored, draw_two_rankings

    write_ranking(ranking, folder / "rerank.csv")
    draw_two_rankings(Rescored.of(ranking), folder / "rerank.png", f"The best cells of {source}")
    best = ranking.compared[0]
    found: dict[str, object] = {"digest": best.cell.digest, "miou": best.miou, "seeds": len(ranking.seeds)}
    if ranking.shrunk[0] is not None:
        found["expected_miou"] = ranking.shrunk[0]
    if confirmed:
        fresh = mean(confirmed)
        found["confirmed"] = {"miou": fresh.value, "low": fresh.low, "high": fresh.high, "seeds": fresh.count}
    found |= {"not_told_apart": [row.cell.digest for row in ranking.rivals], "cell": best.cell.to_json()}
    write_text(folder / "best.json", json.dumps(found, indent=2) + "\n")


def _keep_with_runs(settings: RerankSettings, console: Console) -> None:
    """What all seeds together say, with MLflow's run of each."""
    tracking = settings.tracking.resolved(settings.workplace.output_dir)
    files = [settings.folder / name for name in ("rerank.csv", "rerank.png", "best.json")]
    for number in range(settings.seeds):
        journal = settings.folder / f"seed-{number}" / JOURNAL
        attach(journal, tracking, settings.space.operator_kinds, files, console)


def _report(
    ranking: Ranking,
    said: Sequence[str],
    folder: Path,
    pages: Mapping[str, str],
    given: Overrides,
    console: Console,
) -> None:
    rows = (
        (
            str(place + 1) if place < len(ranking.compared) else "-",
            percent(row.miou),
            percent(ranking.shrunk[place]) if place < len(ranking.compared) else "-",
            percent(row.sd),
            str(len(row.by_seed)),
            str(row.proxy_rank),
            percent(row.proxy_miou),
            quantity(row.params),
            quantity(row.madds),
            row.cell.digest,
        )
        for place, row in enumerate(ranking.rows[:ROWS])
    )
    console.print()
    print_table(table_of(HEADER, rows, left=("cell",), title="Leaderboard, re-ranked"), console)
    console.print()
    for line in said:
        console.print(line, soft_wrap=True)
    console.print(f"Spearman's rho of proxy and re-ranking: {proxy_trust(ranking)}.\n", soft_wrap=True)
    kept = given.arguments(*SHARED)
    best = relative(folder / "best.json")
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "rerank.png"),
        **pages,
        "next": shlex.join([program("dpc"), "retrain", *kept, f"cell={best}"]),
    }
    print_lines(lines, console)
