"""``dpc rerank``: train the best cells of a search end to end, and rank them again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data.system.files import write_text
from models.cost import FeatureShape, cell_cost
from models.pretrained import settle
from models.spec import CellSpec
from search.config import Overrides
from search.deciding.algorithms.listed import Listed
from search.deciding.policy import Plan
from search.findings.failures import failures, no_score_code
from search.findings.leaderboard import percent, quantity
from search.findings.two_rankings import Reranked, as_csv, proxy_correlation, reranked
from search.journal.events import SearchOpened, now_s
from search.session.code_version import search_code
from search.session.folder import alone_in
from search.session.hints import from_here, print_lines, program, relative
from search.session.scoring import Scoring, end_to_end
from search.session.session import Session, check_workplace
from search.settings.groups import SHARED
from search.settings.rerank import RerankSettings
from search.views.console import plain_console, print_table

ROWS = 10
"""Of the table that is printed."""


def run(settings: RerankSettings) -> int:
    """Train what is not trained yet, and show both rankings side by side."""
    with alone_in(settings.folder):
        return _rank_again(settings)


def _rank_again(settings: RerankSettings) -> int:
    console = plain_console()
    source, folder, workplace = settings.source, settings.folder, settings.workplace
    tracking = settings.tracking.resolved(workplace.output_dir)
    check_workplace(workplace)
    scoring = end_to_end(settings.training, settings.space, settings.images, workplace, console)
    cells = [trial.cell for _, trial in settings.chosen]
    recorded = {**settings.recorded, "backbone": settle(settings.images.backbone).record, "from": source, "stage": "rerank"}
    fingerprint = {**scoring.fingerprint, **settings.fingerprint, "cells": [cell.digest for cell in cells]}
    best, records = f"the {len(cells)} best cells of {source}", []
    for number in range(settings.seeds):
        plan = _plan(settings, scoring, cells, settings.seed + number)
        session = Session(
            folder / f"seed-{number}",
            plan,
            SearchOpened(
                f"{source} re-ranked, seed {plan.seed}",
                fingerprint | {"seed": plan.seed, "search_code": search_code()},
                {**recorded, "seed": plan.seed},
                now_s(),
            ),
            scoring.task,
            workplace,
            tracking,
            console,
            f"Seed {number + 1} of {settings.seeds}: {best}, {scoring.rungs[-1]} iterations each",
            "another label=...",
            settings.accept,
            retry_failed=settings.retry_failed,
        )
        study, dashboard = session.run()
        if not study.is_complete:
            return session.exit_code(study)
        records.append(study.record)
    if failed := failures(records):
        console.print(f"\nWithout a score: {failed}.", soft_wrap=True, markup=False)
    if no_score_code(records):
        return 1
    rows = reranked(settings.chosen, records)
    _write(rows, folder, source)
    from search.session.report import write_report

    page, _ = write_report(settings.report)
    _report(rows, folder, {"report": from_here(page), **dashboard}, settings.overrides, console)
    return 0


def _plan(settings: RerankSettings, scoring: Scoring, cells: Sequence[CellSpec], seed: int) -> Plan:
    """Costs are as the search counted them."""
    features = FeatureShape(*settings.search.opened.fingerprint["features"]["shape"])
    return Plan(
        settings.space,
        Listed(tuple(cells)),
        settings.scheduler,
        scoring.rungs,
        len(cells),
        seed,
        cost_of=partial(cell_cost, features=features, filters=scoring.filters),
        paired=True,
    )


def _write(rows: Sequence[Reranked], folder: Path, source: str) -> None:
    from search.views.figures.two_rankings import draw_two_rankings

    write_text(folder / "rerank.csv", as_csv(rows))
    pairs = [(row.proxy_miou, row.miou, row.cell.digest[:8]) for row in rows if row.miou is not None]
    draw_two_rankings(pairs, folder / "rerank.png", f"The best cells of {source}")
    if rows[0].miou is not None:
        best = {"digest": rows[0].cell.digest, "miou": rows[0].miou, "cell": rows[0].cell.to_json()}
        write_text(folder / "best.json", json.dumps(best, indent=2) + "\n")


def _report(rows: Sequence[Reranked], folder: Path, pages: Mapping[str, str], given: Overrides, console: Console) -> None:
    table = Table(title="Leaderboard, re-ranked", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("rank", "mIoU", "sd", "proxy rank", "proxy mIoU", "params", "madds", "cell"):
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for rank, row in enumerate(rows[:ROWS], start=1):
        table.add_row(
            str(rank),
            percent(row.miou),
            percent(row.sd),
            str(row.proxy_rank),
            percent(row.proxy_miou),
            quantity(row.params),
            quantity(row.madds),
            row.cell.digest,
        )
    console.print()
    print_table(table, console)
    fitted = proxy_correlation(rows)
    trust = fitted.text() if fitted else "too few cells, or too much alike"
    console.print(f"\nRank correlation of proxy and re-ranking (Spearman's rho): {trust}\n", soft_wrap=True)
    kept = given.arguments(*SHARED)
    best = relative(folder / "best.json")
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "rerank.png"),
        **pages,
        "next": shlex.join([program("dpc"), "retrain", *kept, f"cell={best}"]),
    }
    print_lines(lines, console)
