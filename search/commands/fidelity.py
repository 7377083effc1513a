"""``dpc fidelity``: score the same cells in two ways, and say whether one ranks them as the other does.

Chen et al. 2018, section 4.1: every cell of a small space, under the proxy task and under what it stands for.
"""

import csv
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from data.system.files import write_text
from models.cost import cell_cost
from models.spec import CellSpec
from search.config import Config, ConfigError, load
from search.deciding.algorithms.listed import Listed
from search.deciding.policy import Plan
from search.deciding.reduced import CellList
from search.deciding.schedulers import NoStopping
from search.deciding.space import CellSpace
from search.findings.rank_correlation import rank_correlation
from search.journal.events import SearchOpened, now_s
from search.journal.record import SearchRecord
from search.session.code_version import search_code
from search.session.execute import check_running, execute, exit_code
from search.session.hints import from_here, print_lines
from search.session.scoring import Scoring, by_proxy, end_to_end
from search.views.figures.two_rankings import draw_two_rankings

SIDES = ("first", "second")
PROTOCOLS = ("proxy", "end_to_end")


def run(config: Config) -> int:
    """Train what is not trained yet under both protocols, and print the rank correlation."""
    console = Console(highlight=False)
    label = config.value("label", str)
    folder = config.value("output_dir", Path).resolve() / label
    cells = config.build("cells", CellList).cells()
    sides = {side: _of_side(config, side) for side in SIDES}
    protocols = {side: _protocol(config, side) for side in SIDES}
    check_running(config)
    records = {}
    for side, of_side in sides.items():
        scoring = by_proxy(of_side, console) if protocols[side] == "proxy" else end_to_end(of_side, console)
        plan = _plan(of_side, scoring, cells)
        fingerprint = {**scoring.fingerprint, "cells": [cell.digest for cell in cells], "seed": plan.seed}
        opened = SearchOpened(
            f"{label}, {side} protocol",
            fingerprint | {"search_code": search_code()},
            {**of_side.plain("proxy", "training", "dataset", "backbone"), "stage": "fidelity", "side": side},
            now_s(),
        )
        title = f"{side.capitalize()} protocol: {len(cells)} cells, {scoring.rungs[-1]} iterations each"
        study, _ = execute(of_side, plan, opened, scoring.task, folder / side, title, "another label=...", console)
        if not study.is_complete:
            return exit_code(study, folder / side, console)
        records[side] = study.record
    _report(records, cells, folder, config, console)
    return 0


def _of_side(config: Config, side: str) -> Config:
    """The settings with what one side changes."""
    changes = config.value(f"{side}.overrides", list[str])
    return load("fidelity", [*config.overrides, *changes], config.config_dir)


def _protocol(config: Config, side: str) -> str:
    protocol = config.value(f"{side}.protocol", str)
    if protocol not in PROTOCOLS:
        raise ConfigError(f"{side}.protocol: accepted are {' and '.join(PROTOCOLS)}, got {protocol!r}.")
    return protocol


def _plan(config: Config, scoring: Scoring, cells: Sequence[CellSpec]) -> Plan:
    return Plan(
        config.build("space", CellSpace),
        Listed(tuple(cells)),
        NoStopping(),
        scoring.rungs,
        len(cells),
        config.value("seed", int),
        cost_of=partial(cell_cost, features=scoring.features, filters=scoring.filters),
        paired=True,
    )


def _report(
    records: dict[str, SearchRecord], cells: Sequence[CellSpec], folder: Path, config: Config, console: Console
) -> None:
    first, second = ({trial.cell.digest: trial.miou for trial in records[side].finished} for side in SIDES)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("digest", *SIDES, "cell"))
    pairs = []
    for cell in cells:
        scores = first.get(cell.digest), second.get(cell.digest)
        table.writerow((cell.digest, *scores, cell))
        if scores[0] is not None and scores[1] is not None:
            pairs.append((scores[0], scores[1], cell.digest[:8]))
    write_text(folder / "fidelity.csv", text.getvalue())
    protocols = (_protocol(config, side).replace("_", " ") for side in SIDES)
    first_label, second_label = (
        f"mIoU by the {side} protocol, {name} (%)" for side, name in zip(SIDES, protocols, strict=True)
    )
    title = "Does one protocol rank cells as the other does?"
    draw_two_rankings(pairs, folder / "fidelity.png", title, (first_label, second_label), "the first")
    fitted = rank_correlation([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    console.print()
    if fitted is None:
        console.print(f"{len(pairs)} cells have both scores: too few, or too much alike, for a rank correlation")
    else:
        console.print(
            f"Spearman's rho {fitted.rho:.2f}, 95 % interval {fitted.low:.2f} to {fitted.high:.2f}, of {fitted.pairs} cells"
        )
    print_lines({"scores": from_here(folder / "fidelity.csv"), "picture": from_here(folder / "fidelity.png")}, console)
