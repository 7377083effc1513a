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
from models.spec import CellSpec
from search.config import Config, ConfigError, load
from search.deciding.algorithms.listed import Listed
from search.deciding.policy import Plan
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.findings.leaderboard import percent, quantity
from search.findings.two_rankings import Reranked, as_csv, best_cells, proxy_correlation, reranked
from search.journal.events import SearchOpened, now_s
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.session.code_version import search_code
from search.session.execute import check_running, execute, exit_code
from search.session.hints import SHARED, from_here, overrides_of, print_lines, program
from search.session.report import write_report
from search.session.scoring import Scoring, end_to_end
from search.views.figures.two_rankings import draw_two_rankings

ROWS = 10
"""Of the table that is printed."""


def run(config: Config) -> int:
    """Train what is not trained yet, and show both rankings side by side."""
    console = Console(highlight=False)
    space, source = config.build("space", CellSpace), config.value("from", str)
    folder = config.value("output_dir", Path).resolve() / source / config.value("label", str)
    top, seeds = config.value("top", int), config.value("seeds", int)
    if top < 1 or seeds < 1:
        raise ConfigError(f"top and seeds must be at least 1, got top={top} seeds={seeds}.")
    check_running(config)
    search = _search(folder.parent, space)
    chosen = best_cells(search, top)
    if not chosen:
        raise ConfigError(f"from: no cell of search {source} has a score yet.")
    cells = [trial.cell for _, trial in chosen]
    scoring = end_to_end(config, console)
    fingerprint = {**scoring.fingerprint, **config.plain("scheduler"), "cells": [cell.digest for cell in cells]}
    records = []
    for seed in range(seeds):
        plan = _plan(config, search, cells, scoring, seed)
        recorded = {**config.plain("training", "dataset", "backbone"), "from": source, "stage": "rerank", "seed": plan.seed}
        opened = SearchOpened(
            f"{source} re-ranked, seed {plan.seed}",
            fingerprint | {"seed": plan.seed, "search_code": search_code()},
            recorded,
            now_s(),
        )
        title = f"Seed {seed + 1} of {seeds}: the {len(cells)} best cells of {source}, {scoring.rungs[-1]} iterations each"
        into = folder / f"seed-{seed}"
        study, dashboard = execute(config, plan, opened, scoring.task, into, title, "another label=...", console)
        if not study.is_complete:
            return exit_code(study, into, console)
        records.append(study.record)
    rows = reranked(chosen, records)
    _write(rows, folder, source)
    page, _ = write_report(load("report", [f"name={source}", *overrides_of(config, *SHARED)], config.config_dir))
    _report(rows, folder, {"report": from_here(page), **dashboard}, config, console)
    return 0


def _search(folder: Path, space: CellSpace) -> SearchRecord:
    path = folder / "journal.jsonl"
    if not path.is_file():
        raise ConfigError(f"from: no search {folder.name!r}, {path} does not exist.")
    record = SearchRecord(read_events(path, operators=space.operator_kinds)[0])
    if record.opened is None:
        raise ConfigError(f"from: no search {folder.name!r}, {path} has no first line.")
    return record


def _plan(config: Config, search: SearchRecord, cells: Sequence[CellSpec], scoring: Scoring, seed: int) -> Plan:
    """Costs are as the search counted them."""
    assert search.opened is not None
    features = FeatureShape(*search.opened.fingerprint["features"]["shape"])
    return Plan(
        config.build("space", CellSpace),
        Listed(tuple(cells)),
        config.build("scheduler", Scheduler),
        scoring.rungs,
        len(cells),
        config.value("seed", int) + seed,
        cost_of=partial(cell_cost, features=features, filters=scoring.filters),
        paired=True,
    )


def _write(rows: Sequence[Reranked], folder: Path, source: str) -> None:
    write_text(folder / "rerank.csv", as_csv(rows))
    pairs = [(row.proxy_miou, row.miou, row.cell.digest[:8]) for row in rows if row.miou is not None]
    draw_two_rankings(pairs, folder / "rerank.png", f"The best cells of {source}")
    if rows[0].miou is not None:
        best = {"digest": rows[0].cell.digest, "miou": rows[0].miou, "cell": rows[0].cell.to_json()}
        write_text(folder / "best.json", json.dumps(best, indent=2) + "\n")


def _report(rows: Sequence[Reranked], folder: Path, pages: Mapping[str, str], config: Config, console: Console) -> None:
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
    console.print(table)
    fitted = proxy_correlation(rows)
    trust = (
        f"{fitted.rho:.2f}, 95 % interval {fitted.low:.2f} to {fitted.high:.2f}, {fitted.pairs} cells"
        if fitted
        else "too few cells, or too much alike"
    )
    console.print(f"\nRank correlation of proxy and re-ranking (Spearman's rho): {trust}\n", soft_wrap=True)
    kept = overrides_of(config, "experiment", "dataset", "backbone", "output_dir", "space")
    best = from_here(folder / "best.json")
    lines = {
        "results": from_here(folder),
        "picture": from_here(folder / "rerank.png"),
        **pages,
        "next": shlex.join([program("dpc"), "retrain", *kept, f"cell={best}"]),
    }
    print_lines(lines, console)
