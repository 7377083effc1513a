"""``dpc simulate``: ways to search, compared without training."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Printed

from data.system.files import write_text
from models.cost import FeatureShape
from search.config import Config, ConfigError, load
from search.deciding.policy import Plan
from search.findings.leaderboard import percent
from search.journal.lines import read_events
from search.session.hints import from_here
from search.session.plan import build_plan
from search.session.processes import process_count
from search.session.progress import progress_bar
from search.simulation.compare import Contender, Result, compare, top_quality
from search.simulation.engine import Trouble
from search.simulation.landscape import Landscape, LandscapeSettings
from search.simulation.recorded import Nearest, RecordedTable
from search.views.figures.simulation import draw_simulation

CURVE_POINTS = 200


def run(config: Config) -> int:
    """Search a landscape, or the table of a recorded search, in every way that was asked for."""
    console = Console(highlight=False)
    folder = config.value("output_dir", Path).resolve() / "simulation"
    workers, seeds = config.value("workers", int), config.value("seeds", int)
    processes = process_count(config, "processes")
    driver_s = config.value("driver_s", float)
    if driver_s < 0:
        raise ConfigError(f"driver_s: must be at least 0, got {driver_s:g}.")
    for name, value in (("workers", workers), ("seeds", seeds)):
        if value < 1:
            raise ConfigError(f"{name}: must be at least 1, got {value}.")
    plan = _plan(config)
    plan.budget.check(plan.space, plan.cost_of)
    table: Landscape | RecordedTable
    if journal := config.optional("journal", Path):
        table = _recorded(journal, plan)
        contenders = [_on_recorded(contender, table) for contender in _contenders(config, table.rungs)]
        qualities = sorted(map(table.quality, table.cells), reverse=True)
        goal, goal_name = qualities[0], "its best cell"
        title = f"{len(table.cells)} cells of {from_here(journal)}, {workers} workers"
    else:
        contenders = _contenders(config, plan.rungs)
        table = Landscape(config.build("landscape", LandscapeSettings), plan.space, plan.cost_of, tuple(plan.rungs))
        share = config.value("top_share", float)
        if not 0 < share < 1:
            raise ConfigError(f"top_share: must be between 0 and 1, got {share:g}.")
        goal, goal_name = top_quality(table, plan, share), f"top {100 * share:g} %"
        title = f"A landscape of {plan.space.num_distinct:,} cells, {workers} workers"
    with progress_bar(console, "simulated searches") as progress:
        results = compare(table, contenders, workers, seeds, processes, driver_s, config.build("trouble", Trouble), progress)
    console.print(_printed(results, goal, goal_name, title))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "simulation.csv", _csv(results, goal))
    settings = config.plain(
        *(key for key in config.keys if key not in ("tracking", "dataset", "backbone", "cache", "training"))
    )
    write_text(folder / "simulation.json", json.dumps({"settings": settings, "goal": goal, "results": _curves(results)}))
    draw_simulation(results, folder / "simulation.png", title, goal, goal_name)
    console.print(f"\nresults    {from_here(folder)}\npicture    {from_here(folder / 'simulation.png')}", soft_wrap=True)
    return 0


def _plan(config: Config) -> Plan:
    channels, height, width = (config.value(f"features.{name}", int) for name in ("channels", "height", "width"))
    return build_plan(config, FeatureShape(channels, height, width))


def _contenders(config: Config, rungs: Sequence[int]) -> list[Contender]:
    """Each algorithm with each scheduler, composed as `dpc search` would compose it with these rungs."""
    contenders = []
    common = [*config.overrides, f"proxy.rungs={list(rungs)}"]  # a scheduler's grace period is that of the first rung
    for algorithm in config.optional("algorithms", list[str]) or [""]:
        for scheduler in config.optional("schedulers", list[str]) or [""]:
            chosen = [f"{group}={name}" for group, name in (("algorithm", algorithm), ("scheduler", scheduler)) if name]
            plan = _plan(load("simulate", [*common, *chosen], config.config_dir))
            name, other = algorithm or type(plan.algorithm).__name__, scheduler or type(plan.scheduler).__name__
            contenders.append(Contender(name, other, plan))
    return contenders


def _recorded(journal: Path, plan: Plan) -> RecordedTable:
    file = journal / "journal.jsonl" if journal.is_dir() else journal
    if not file.is_file():
        raise ConfigError(f"journal: no file {file}.")
    events, _ = read_events(file, operators=plan.space.operator_kinds)
    table = RecordedTable(events, lambda cell: plan.budget.allows(plan.cost_of(cell)))
    outside = [cell for cell in table.cells if cell not in plan.space]
    if outside:
        raise ConfigError(f"space: {len(outside)} of the journal's cells are outside, such as {outside[0]}.")
    return table


def _on_recorded(contender: Contender, table: RecordedTable) -> Contender:
    plan = replace(
        contender.plan,
        algorithm=Nearest(contender.plan.algorithm, table.cells),
        trials=min(contender.plan.trials, len(table.cells)),
    )
    return replace(contender, plan=plan)


_COLUMNS = ("algorithm", "scheduler", "mIoU", "sd", "clock", "hours", "trials to", "hours to", "seeds")


def _rows(results: Sequence[Result], goal: float) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in results:
        mean, deviation = result.final_quality
        reached = result.to_reach(goal)
        rows.append(
            (
                result.contender.algorithm,
                result.contender.scheduler,
                percent(mean),
                percent(deviation),
                _hours(float(np.mean([run.hours[-1] for run in result.runs]))),
                _hours(float(np.mean([run.worker_hours[-1] for run in result.runs]))),
                f"{reached.trials:.0f}" if math.isfinite(reached.trials) else "never",
                _hours(reached.worker_hours),
                f"{reached.seeds}/{len(result.runs)}",
            )
        )
    return rows


def _hours(value: float) -> str:
    """A demo's search takes a small part of one."""
    return "never" if math.isinf(value) else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _printed(results: Sequence[Result], goal: float, goal_name: str, title: str) -> Printed:
    caption = (
        "mIoU: without luck, of the best cell found; clock: hours until the end; hours: of workers; "
        f"to: median until it is as good as {goal_name} ({percent(goal)}); seeds: that got there"
    )
    left: dict[str, Any] = {"title_justify": "left", "caption_justify": "left"}
    printed = Printed(title=title, caption=caption, box=None, pad_edge=False, collapse_padding=True, **left)
    for column in _COLUMNS:
        printed.add_column(column, justify="left" if column in ("algorithm", "scheduler") else "right", no_wrap=True)
    for row in _rows(results, goal):
        printed.add_row(*row)
    return printed


def _csv(results: Sequence[Result], goal: float) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_COLUMNS, *_rows(results, goal)])
    return text.getvalue()


def _curves(results: Sequence[Result]) -> list[dict[str, object]]:
    """Every search, at places that are even on a log scale."""
    curves: list[dict[str, object]] = []
    for result in results:
        for seed, run in enumerate(result.runs):
            places = np.unique(np.geomspace(1, len(run.quality), CURVE_POINTS).round().astype(int))
            columns = {"worker_hours": run.worker_hours, "hours": run.hours, "quality": run.quality}
            thinned = {name: [values[place - 1] for place in places] for name, values in columns.items()}
            name = {"algorithm": result.contender.algorithm, "scheduler": result.contender.scheduler, "seed": seed}
            curves.append({**name, "completed": run.completed, "trials": places.tolist(), **thinned})
    return curves
