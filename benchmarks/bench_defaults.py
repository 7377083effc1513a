"""Which algorithm, which scheduler: every pair of them at equal hours, on the recorded tables and on eight landscapes.

    python benchmarks/bench_defaults.py --orders 200 runs.jsonl
    python benchmarks/bench_defaults.py --tables runs.jsonl

The first command adds to the file what is missing there, order by order, and may be stopped at any time; the second prints what
the file holds. An order is a seed of the search: what is drawn by it is the same for all pairs. Every
second order searches a landscape, too: the next of eight.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import binom

from models.cost import FeatureShape, cell_cost
from search.config import load
from search.deciding.algorithms.base import Algorithm
from search.deciding.policy import Plan
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.findings.estimates import Estimate, mean, paired_difference
from search.journal.lines import read_events
from search.simulation.compare import top_quality
from search.simulation.engine import Simulated, Table, simulate
from search.simulation.landscape import Landscape, LandscapeSettings
from search.simulation.recorded import RecordedTable

TABLES = Path(__file__).parent / "tables"
WORKERS = 8
DEFAULT = ("near_best", "asha")
ALGORITHMS = ("near_best", "uniform", "evolution", "local_search", "pareto", "tpe", "predictor")
DEAR = {"tpe": 10, "predictor": 10}
"""These are searched in every so manieth order alone: their proposals take longest."""
SCHEDULERS = {"none": 1.2, "asha": 3.0, "median": 2.2, "hyperband": 2.2}
"""With the trials that are more than enough for the hours of one trial that is not stopped."""
FULL_TRIALS = 50
"""The hours of so many trials that are not stopped are a search's budget."""
RUNGS = (1875, 3750, 7500, 15000, 30000)
LANDSCAPES = [
    LandscapeSettings(seed=seed, reach=reach, early_noise=early_noise, seed_noise=seed_noise)
    for seed, (reach, early_noise, seed_noise) in enumerate(product((0.7, 0.4), (0.015, 0.04), (0.005, 0.01)))
]
"""Smooth and rugged, with early scores that tell much or little, and seeds that differ little or much."""


@dataclass(frozen=True)
class Searched:
    """What is searched.

    Attributes:
        hours: of workers, that a search may take.
        goals: qualities of its top 5 %, and of its best cell, or its top 0.1 % where the space is large.
    """

    table: Table
    plan: Plan
    hours: float
    goals: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--tables", action="store_true")
    given = parser.parse_args()
    if given.tables:
        print_tables([json.loads(line) for line in given.file.read_text().splitlines()])
    else:
        search_all(given.file, given.orders)


def search_all(file: Path, orders: int) -> None:
    """Search in every order that the file lacks."""
    done = {tuple(json.loads(line)["key"]) for line in file.read_text().splitlines()} if file.exists() else set()
    recorded = {f"recorded-{branches}": recorded_table(branches) for branches in (5, 2)}
    with file.open("a") as out:
        for order in range(orders):
            tables = recorded | ({} if order % 2 else {"landscapes": landscape(order // 2 % len(LANDSCAPES))})
            for name, algorithm, scheduler in product(tables, ALGORITHMS, SCHEDULERS):
                key = (name, algorithm, scheduler, order)
                if key not in done and order % DEAR.get(algorithm, 1) == 0:
                    row = {"key": key, **searched_by(tables[name], algorithm, scheduler, order)}
                    out.write(json.dumps(row) + "\n")
                    out.flush()


def recorded_table(branches: int) -> Searched:
    events, _ = read_events(TABLES / f"camvid-h100-f256-400-{branches}.jsonl.gz")
    table = RecordedTable.of(events)
    plan = plan_of("near_best", "none", branches, table.rungs)
    hours = FULL_TRIALS * median(table.scores(cell, 0)[-1].elapsed_s for cell in table.cells) / 3600
    qualities = sorted(map(table.quality, table.cells), reverse=True)
    return Searched(table, plan, hours, (qualities[len(qualities) // 20 - 1], qualities[0]))


@cache
def landscape(number: int) -> Searched:
    plan = plan_of("near_best", "none", 5, RUNGS)
    table = Landscape(LANDSCAPES[number], plan.space, plan.cost_of, RUNGS)
    hours = FULL_TRIALS * table.scores(table.best, 0)[-1].elapsed_s / 3600
    return Searched(table, plan, hours, tuple(top_quality(table, plan, share, 10_000) for share in (0.05, 0.001)))


@cache
def plan_of(algorithm: str, scheduler: str, branches: int, rungs: Sequence[int]) -> Plan:
    """With the settings of conf/; trials and seed are still to be said."""
    chosen = load("simulate", [f"algorithm={algorithm}", f"scheduler={scheduler}", f"space.num_branches={branches}"])
    space = chosen.build("space", CellSpace)
    proposing, stopping = chosen.build("algorithm", Algorithm), chosen.build("scheduler", Scheduler)  # type: ignore[type-abstract]
    cost_of = partial(cell_cost, features=FeatureShape(320, 49, 49))
    return Plan(space, proposing, stopping, rungs, trials=1, seed=0, cost_of=cost_of)


def searched_by(searched: Searched, algorithm: str, scheduler: str, order: int) -> dict[str, Any]:
    plan = searched.plan
    saved = len(plan.rungs) / 3 if scheduler != "none" else 1  # a first rung of a sixteenth costs less than one of a quarter
    trials = math.ceil(FULL_TRIALS * SCHEDULERS[scheduler] * saved)
    own = replace(plan_of(algorithm, scheduler, plan.space.num_branches, plan.rungs), trials=trials, seed=order)
    run = simulate(searched.table, searched.table.searched_by(own), WORKERS)
    return {
        "quality": [quality_at(run, share * searched.hours) for share in (0.25, 0.5, 1)],
        "goals": [reached(run, goal, searched.hours) for goal in searched.goals],
        "trials": sum(hours <= searched.hours for hours in run.worker_hours),
        "hours": min(run.worker_hours[-1], searched.hours),
        "budget": searched.hours,
    }


def quality_at(run: Simulated, hours: float) -> float:
    """Of the leaderboard's first once workers have spent so many hours."""
    known = [quality for quality, spent in zip(run.quality, run.worker_hours, strict=True) if spent <= hours]
    return known[-1] if known else 0.0


def reached(run: Simulated, goal: float, hours: float) -> tuple[int, float] | None:
    """Trials and hours until the leaderboard's first was as good as that; None if not within ``hours``."""
    index = run.first_at_least(goal)
    return None if index is None or run.worker_hours[index] > hours else (index + 1, run.worker_hours[index])


def print_tables(rows: Sequence[Mapping[str, Any]]) -> None:
    runs: dict[str, dict[tuple[str, str], dict[int, Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        name, algorithm, scheduler, order = row["key"]
        runs[name][algorithm, scheduler][order] = row
    for name, ways in runs.items():
        print(f"\n{name}\n")
        print("| algorithm | scheduler | orders | mIoU at 1/4, 1/2, all hours | difference | to the top 5 % | to the best |")
        print("|---|---|---|---|---|---|---|")
        for (algorithm, scheduler), own in sorted(ways.items(), key=lambda way: -mean_at(way[1].values(), 2).value):
            print(f"| {algorithm} | {scheduler} | {' | '.join(line(own, ways[DEFAULT]))} |")


def line(own: Mapping[int, Mapping[str, Any]], default: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    orders = sorted(own.keys() & default.keys())
    runs = [own[order] for order in orders]
    yield str(len(orders))
    yield ", ".join(f"{100 * mean_at(runs, place).value:.2f}" for place in range(3))
    difference = paired_difference(*([way[order]["quality"][2] for order in orders] for way in (own, default)))
    yield "" if own is default else difference.text(lambda value: f"{100 * value:+.2f}")
    for goal in (0, 1):
        found = [run["goals"][goal] for run in runs]
        there = sum(one is not None for one in found) / len(found)
        trials = median(math.inf if one is None else one[0] for one in found)
        yield f"{trials:.0f} trials, {median_interval([share_of(run, goal) for run in runs])} %; {100 * there:.0f} % of orders"


def mean_at(runs: Any, place: int) -> Estimate:
    return mean([run["quality"][place] for run in runs])


def share_of(run: Mapping[str, Any], goal: int) -> float:
    """Of the budget, until the goal."""
    return math.inf if run["goals"][goal] is None else 100 * run["goals"][goal][1] / run["budget"]


def median_interval(values: Sequence[float]) -> str:
    """The median with its 95 % interval from order statistics, which holds for any distribution."""
    ordered, count = sorted(values), len(values)
    place = int(binom.ppf(0.025, count, 0.5))
    low, high = ordered[max(place - 1, 0)], ordered[min(count - place, count - 1)]
    return f"{median(ordered):.0f} ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    main()
