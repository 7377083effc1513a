"""``dpc fidelity``: score the same cells in two ways, and say whether one ranks them as the other does.

Chen et al. 2018, section 4.1: every cell of a small space, under the proxy task and under what it stands for.
"""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean

from rich.console import Console

from data.system.files import write_csv
from models.pretrained import settle
from models.spec import CellSpec
from search.deciding.schedulers import NoStopping
from search.findings.attenuation import attenuation, repeatability, scores_by_seed
from search.findings.estimates import rank_correlation
from search.findings.failures import failures, no_score_code
from search.journal.events import SearchOpened, now_s
from search.journal.record import SearchRecord
from search.session.beginning import Beginning
from search.session.code_version import search_code
from search.session.folder import alone_in
from search.session.hints import from_here, print_lines
from search.session.scoring import Scoring, scoring_for
from search.session.session import Session, check_workplace
from search.settings.fidelity import SIDES, FidelitySettings, Side
from search.views.console import plain_console
from search.wording import counted

COLUMNS = ("digest", *SIDES, "cell")


def run(settings: FidelitySettings) -> int:
    """Train what is not trained yet under both protocols, and print the rank correlation."""
    with alone_in(settings.folder):
        return _score_twice(settings)


def _score_twice(settings: FidelitySettings) -> int:
    console = plain_console()
    cells = settings.cells.cells()
    for side in settings.sides.values():
        check_workplace(side.workplace)
    records: dict[str, list[SearchRecord]] = {name: [] for name in settings.sides}
    for name, side in settings.sides.items():
        scoring = scoring_for(side.scored, side.space, side.images, side.workplace, console)
        for number in range(settings.seeds):
            session = _session(
                settings,
                name,
                side=side,
                scoring=scoring,
                cells=cells,
                seed=settings.seed(name, number),
                number=number,
                console=console,
            )
            study, _ = session.run()
            if not study.is_complete:
                return session.conclude(study)
            records[name].append(study.record)
    every = [record for of_side in records.values() for record in of_side]
    if failed := failures(every):
        console.print(f"\nWithout a score: {failed}.", soft_wrap=True, markup=False)
    if any(no_score_code([record]) for record in every):
        return 1
    _report(records, cells, settings, console)
    return 0


def _session(
    settings: FidelitySettings,
    name: str,
    *,
    side: Side,
    scoring: Scoring,
    cells: Sequence[CellSpec],
    seed: int,
    number: int,
    console: Console,
) -> Session:
    """All cells once, as one side scores them."""
    fingerprint = {**side.fingerprint, **scoring.fingerprint, "cells": [cell.digest for cell in cells], "seed": seed}
    plan = scoring.plan_of(cells, seed, side.space, NoStopping(), scoring.features)
    opened = SearchOpened(
        f"{settings.label}, {name} protocol, seed {seed}",
        fingerprint | {"search_code": search_code(plan)},
        {**side.recorded, "backbone": settle(side.images.backbone).record, "stage": "fidelity", "side": name},
        now_s(),
    )
    return Session(
        folder=settings.folder / (f"{name}-{number + 1}" if number else name),
        beginning=Beginning(plan=plan, opened=opened, cure="another label=...", accept=side.accept),
        task=scoring.task,
        workplace=side.workplace,
        tracking=side.tracking.resolved(side.workplace.output_dir),
        console=console,
        title=f"{name.capitalize()} protocol: {counted(len(cells), 'cell')}, {scoring.rungs[-1]} iterations each, seed {seed}",
        retry_failed=settings.retry_failed,
    )


def _report(
    records: Mapping[str, Sequence[SearchRecord]], cells: Sequence[CellSpec], settings: FidelitySettings, console: Console
) -> None:
    from search.views.figures.two_rankings import Rescored, draw_two_rankings

    folder = settings.folder
    found = {side: scores_by_seed(records[side], cells) for side in SIDES}
    scored = [cell for cell in cells if all(cell.digest in seed for seeds in found.values() for seed in seeds)]
    means = {side: [fmean(seed[cell.digest] for seed in seeds) for cell in scored] for side, seeds in found.items()}
    known = {cell.digest: scores for cell, *scores in zip(scored, *means.values(), strict=True)}
    rows = ((cell.digest, *known.get(cell.digest, (None, None)), json.dumps(cell.to_json())) for cell in cells)
    write_csv(folder / "fidelity.csv", COLUMNS, rows)
    protocols = (settings.sides[side].protocol.replace("_", " ") for side in SIDES)
    first_label, second_label = (
        f"mIoU by the {side} protocol, {name} (%)" for side, name in zip(SIDES, protocols, strict=True)
    )
    title = "Does one protocol rank cells as the other does?"
    seconds = found[SIDES[1]]
    by_first = sorted(scored, key=lambda cell: -known[cell.digest][0])
    rescored = [Rescored(known[cell.digest][0], [seed[cell.digest] for seed in seconds], cell.digest[:8]) for cell in by_first]
    draw_two_rankings(rescored, folder / "fidelity.png", title, (first_label, second_label), "the first")
    fitted = rank_correlation(*means.values())
    console.print()
    if fitted is None:
        console.print(f"{len(scored)} cells have all scores: too few, or too similar, for a rank correlation")
    else:
        console.print(f"Spearman's rho {fitted.text()}", soft_wrap=True)
        first, second = (repeatability([[seed[cell.digest] for cell in scored] for seed in found[side]]) for side in SIDES)
        console.print(attenuation(fitted.rho, first, second, settings.seeds), soft_wrap=True)
    print_lines({"scores": from_here(folder / "fidelity.csv"), "picture": from_here(folder / "fidelity.png")}, console)
