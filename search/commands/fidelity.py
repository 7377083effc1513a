"""``dpc fidelity``: score the same cells in two ways, and say whether one ranks them as the other does.

Chen et al. 2018, section 4.1: every cell of a small space, under the proxy task and under what it stands for.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial

from rich.console import Console

from data.system.files import write_text
from models.cost import cell_cost
from models.pretrained import settle
from models.spec import CellSpec
from search.deciding.algorithms.listed import Listed
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.findings.estimates import rank_correlation
from search.findings.failures import failures, no_score_code
from search.journal.events import SearchOpened, now_s
from search.journal.record import SearchRecord
from search.session.beginning import Beginning
from search.session.code_version import search_code
from search.session.folder import alone_in
from search.session.hints import from_here, print_lines
from search.session.scoring import Scoring, score
from search.session.session import Session, check_workplace
from search.settings.fidelity import SIDES, FidelitySettings, Side
from search.views.console import plain_console


def run(settings: FidelitySettings) -> int:
    """Train what is not trained yet under both protocols, and print the rank correlation."""
    with alone_in(settings.folder):
        return _score_twice(settings)


def _score_twice(settings: FidelitySettings) -> int:
    console = plain_console()
    cells = settings.cells.cells()
    for side in settings.sides.values():
        check_workplace(side.workplace)
    records = {}
    for name, side in settings.sides.items():
        scoring = score(side.scored, side.space, side.images, side.workplace, console)
        plan = _plan(side, scoring, cells)
        fingerprint = {**side.fingerprint, **scoring.fingerprint, "cells": [cell.digest for cell in cells], "seed": plan.seed}
        session = Session(
            settings.folder / name,
            Beginning(
                plan,
                SearchOpened(
                    f"{settings.label}, {name} protocol",
                    fingerprint | {"search_code": search_code()},
                    {**side.recorded, "backbone": settle(side.images.backbone).record, "stage": "fidelity", "side": name},
                    now_s(),
                ),
                "another label=...",
                side.accept,
            ),
            scoring.task,
            side.workplace,
            side.tracking.resolved(side.workplace.output_dir),
            console,
            f"{name.capitalize()} protocol: {len(cells)} cells, {scoring.rungs[-1]} iterations each",
            retry_failed=settings.retry_failed,
        )
        study, _ = session.run()
        if not study.is_complete:
            return session.exit_code(study)
        records[name] = study.record
    if failed := failures(records.values()):
        console.print(f"\nWithout a score: {failed}.", soft_wrap=True, markup=False)
    if any(no_score_code([record]) for record in records.values()):
        return 1
    _report(records, cells, settings, console)
    return 0


def _plan(side: Side, scoring: Scoring, cells: Sequence[CellSpec]) -> Plan:
    return Plan(
        side.space,
        Listed(tuple(cells)),
        NoStopping(),
        scoring.rungs,
        len(cells),
        side.seed,
        cost_of=partial(cell_cost, features=scoring.features, filters=scoring.filters),
        paired=True,
    )


def _report(
    records: Mapping[str, SearchRecord], cells: Sequence[CellSpec], settings: FidelitySettings, console: Console
) -> None:
    from search.views.figures.two_rankings import draw_two_rankings

    folder = settings.folder
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
    protocols = (settings.sides[side].protocol.replace("_", " ") for side in SIDES)
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
        console.print(f"Spearman's rho {fitted.text()}")
    print_lines({"scores": from_here(folder / "fidelity.csv"), "picture": from_here(folder / "fidelity.png")}, console)
