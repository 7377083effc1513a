"""``dpc simulate``: ways to search, compared without training."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table as Printed

from data.system.files import write_text
from search.findings.leaderboard import percent
from search.session.hints import from_here
from search.settings.simulate import SimulateSettings
from search.simulation.compare import Result, compare, top_quality
from search.simulation.landscape import Landscape
from search.simulation.recorded import RecordedTable
from search.views.console import plain_console, print_table
from search.views.figures.simulation import draw_simulation
from search.views.progress_bar import progress_bar

CURVE_POINTS = 200


def run(settings: SimulateSettings) -> int:
    """Search a landscape, or the table of a recorded search, in every way that was asked for."""
    console = plain_console()
    folder, workers, plan = settings.folder, settings.workers, settings.plan
    table: Landscape | RecordedTable
    if settings.table and settings.journal:
        table = settings.table
        goal, goal_name = max(map(table.quality, table.cells)), "its best cell"
        title = f"{len(table.cells)} cells of {from_here(settings.journal)}, {workers} workers"
    else:
        table = Landscape(settings.landscape, plan.space, plan.cost_of, tuple(plan.rungs))
        goal, goal_name = top_quality(table, plan, settings.top_share), f"top {100 * settings.top_share:g} %"
        title = f"A landscape of {plan.space.num_distinct:,} cells, {workers} workers"
    with progress_bar(console, "simulated searches") as progress:
        results = compare(
            table,
            settings.contenders,
            workers,
            settings.seeds,
            settings.processes,
            settings.driver_s,
            settings.trouble,
            progress,
        )
    print_table(_printed(results, goal, goal_name, title), console)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "simulation.csv", _csv(results, goal))
    kept = {"settings": settings.recorded, "goal": goal, "results": _curves(results)}
    write_text(folder / "simulation.json", json.dumps(kept))
    draw_simulation(results, folder / "simulation.png", title, goal, goal_name)
    console.print(f"\nresults    {from_here(folder)}\npicture    {from_here(folder / 'simulation.png')}", soft_wrap=True)
    return 0


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
