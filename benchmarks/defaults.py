"""Which algorithm, which scheduler: every pair of them at equal hours, on two recorded tables and on eight landscapes.

    python benchmarks/defaults.py --orders 200 runs.jsonl
    python benchmarks/defaults.py --tables runs.jsonl

The first command adds to the file what is missing there, order by order, and may be stopped at any time; the second prints what
the file holds. An order is a seed of the search: what is drawn by it is the same for all pairs. Every
second order searches the next of the landscapes, too.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any

from scipy.stats import binom, ttest_1samp

from models.cost import FeatureShape, cell_cost
from search.config import load
from search.deciding.algorithms.base import Algorithm
from search.deciding.policy import Plan
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.findings.estimates import mean
from search.journal.lines import read_events
from search.simulation.compare import top_quality
from search.simulation.engine import Simulated, Table, simulate
from search.simulation.landscape import Landscape, LandscapeSettings
from search.simulation.recorded import RecordedTable

Way = tuple[str, str]
Row = Mapping[str, Any]

JOURNALS = Path(__file__).parent / "tables"
WORKERS = 8
DEFAULT = ("near_best", "asha")
LATER = "asha from the middle rung"
ALGORITHMS = ("near_best", "uniform", "evolution", "local_search", "pareto", "tpe", "predictor")
DEAR = ("tpe", "predictor")
"""Their proposals take longest."""
OFTEN = [*product(("near_best", "uniform", "evolution", "local_search", "pareto"), ["asha"])]
OFTEN += [("near_best", "none"), ("near_best", "median"), ("near_best", LATER), ("uniform", "none")]
"""These are searched in all orders, the others in the first ones alone."""
FEW = 20
FEWEST = 5
"""Of fewer pairs no interval is shown."""
SCHEDULERS = {"none": 1.2, "asha": 3.0, "median": 2.2, "hyperband": 2.2, LATER: 2.5}
"""With the trials that are more than enough for the hours of one trial that is not stopped."""
FULL_TRIALS = 50
"""The hours of so many trials that are not stopped are a search's budget."""
RUNGS = (1875, 3750, 7500, 15000, 30000)
LANDSCAPES = [
    LandscapeSettings(seed=seed, reach=reach, early_noise=early_noise, seed_noise=seed_noise)
    for seed, (reach, early_noise, seed_noise) in enumerate(product((0.7, 0.4), (0.015, 0.04), (0.005, 0.01)))
]
"""Smooth and rugged, with early scores that tell much or little, and seeds that differ little or much."""
TABLES = ("recorded-5", "recorded-2", "landscapes")


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
    with file.open("a") as out:
        for order, name in product(range(orders), TABLES):
            for algorithm, scheduler in product(ALGORITHMS, SCHEDULERS):
                key = (name, algorithm, scheduler, order)
                if key not in done and is_wanted(*key):
                    row = {"key": key, **searched_by(table_of(name, order), algorithm, scheduler, order)}
                    out.write(json.dumps(row) + "\n")
                    out.flush()


def is_wanted(name: str, algorithm: str, scheduler: str, order: int) -> bool:
    """Whether this order of a way to search is one of those that are searched."""
    if name == "landscapes" and order % 2:
        return False
    if scheduler == LATER and algorithm != "near_best":
        return False
    if algorithm in DEAR:
        return order < FEW and order % (4 if scheduler == "asha" else 10) == 0
    return (algorithm, scheduler) in OFTEN or order < FEW


def table_of(name: str, order: int) -> Searched:
    return landscape(number_of_landscape(order)) if name == "landscapes" else recorded_table(int(name[-1]))


def number_of_landscape(order: int) -> int:
    """Every second order takes the next."""
    return order // 2 % len(LANDSCAPES)


@cache
def recorded_table(branches: int) -> Searched:
    events, _ = read_events(JOURNALS / f"camvid-h100-f256-400-{branches}.jsonl.gz")
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
    stopping = [f"scheduler={scheduler}"]
    if scheduler == LATER:
        stopping = ["scheduler=asha", f"scheduler.grace_iterations={rungs[len(rungs) // 2]}"]
    chosen = load("simulate", [f"algorithm={algorithm}", *stopping, f"space.num_branches={branches}"])
    space = chosen.build("space", CellSpace)
    built = chosen.build("algorithm", Algorithm), chosen.build("scheduler", Scheduler)  # type: ignore[type-abstract]
    cost_of = partial(cell_cost, features=FeatureShape(320, 49, 49))
    return Plan(space, *built, rungs, trials=1, seed=0, cost_of=cost_of)


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


def print_tables(rows: Sequence[Row]) -> None:
    """Of each table: differences from the default of all ways, and more of those that are searched in all orders."""
    runs: dict[str, dict[Way, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        name, algorithm, scheduler, order = row["key"]
        runs[name][algorithm, scheduler][order] = row
    for name in TABLES:
        print(f"\n{name}: difference from {' + '.join(DEFAULT)}\n")
        print(f"| | {' | '.join(SCHEDULERS)} |\n|---|{'---|' * len(SCHEDULERS)}")
        for algorithm in ALGORITHMS:
            cells = [compared(runs[name].get((algorithm, scheduler), {}), runs[name][DEFAULT]) for scheduler in SCHEDULERS]
            print(f"| {algorithm} | {' | '.join(cells)} |")
        print(f"\n{surest(runs[name])}")
    for name, ways in runs.items():
        print(f"\n{name}\n")
        print("| algorithm, scheduler | orders | mIoU, % | difference | top 5 %: trials, hours | best: orders, hours |")
        print("|---|---|---|---|---|---|")
        lines = [(mean_at(ways[way], 2), way) for way in OFTEN if way in ways]
        for _, way in sorted(lines, reverse=True):
            print(f"| {', '.join(way)} | {' | '.join(line(ways[way], ways[DEFAULT]))} |")


def compared(own: Mapping[int, Row], default: Mapping[int, Row]) -> str:
    """Points of mIoU after all hours, with half the width of the interval where it says something, and of how many pairs."""
    if own is default or not own:
        return ""
    found = mean(final_differences(own, default))
    half = "" if found.high is None or found.count < FEWEST else f" ± {100 * (found.high - found.value):.2f}"
    return f"{100 * found.value:+.2f}{half} ({found.count})"


def surest(ways: Mapping[Way, Mapping[int, Row]]) -> str:
    """The difference that is least likely by chance, and how likely the least of so many is (Bonferroni)."""
    default = ways[DEFAULT]
    differences = {way: final_differences(own, default) for way, own in ways.items() if way != DEFAULT}
    tested = {way: float(ttest_1samp(found, 0).pvalue) for way, found in differences.items() if len(found) >= FEWEST}
    if not tested:
        return "Too few orders to tell any way from the default."
    way = min(tested, key=lambda way: tested[way])
    p_value, of_all = tested[way], min(len(tested) * tested[way], 1.0)
    return (
        f"Surest: {' with '.join(way)}, p = {p_value:.2g}; as the least of {len(tested)} comparisons {of_all:.2g} (Bonferroni)."
    )


def line(own: Mapping[int, Row], default: Mapping[int, Row]) -> list[str]:
    """As the head of the table says; hours are in % of the budget."""
    runs = list(own.values())
    trials = median(of_each_table(runs, lambda run: math.inf if run["goals"][0] is None else run["goals"][0][0]))
    found = sum(run["goals"][1] is not None for run in runs)
    return [
        str(len(runs)),
        ", ".join(f"{100 * mean_at(own, place):.2f}" for place in range(3)),
        compared(own, default),
        f"{written(trials)}, {median_interval(of_each_table(runs, partial(share_until, goal=0)))}",
        f"{100 * found / len(runs):.0f} %, {median_interval(of_each_table(runs, partial(share_until, goal=1)))}",
    ]


def mean_at(own: Mapping[int, Row], place: int) -> float:
    """mIoU of what was found by a quarter, a half and all of the hours."""
    return fmean(run["quality"][place] for run in own.values())


def final_differences(own: Mapping[int, Row], default: Mapping[int, Row]) -> list[float]:
    """Of what is found in all hours, by pairs of one order; those on one landscape count as one, with their mean."""
    pairs: dict[int, list[float]] = defaultdict(list)
    for order in own.keys() & default.keys():
        pairs[counted_as(own[order])].append(own[order]["quality"][2] - default[order]["quality"][2])
    return [fmean(differences) for differences in pairs.values()]


def of_each_table(runs: Sequence[Row], value: Callable[[Row], float]) -> list[float]:
    """Of each order, of all those on one landscape their median."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        values[counted_as(run)].append(value(run))
    return [median(of_one) for of_one in values.values()]


def counted_as(run: Row) -> int:
    """Runs of one number count once in an interval: on a recorded table each order, of landscapes each landscape."""
    name, _, _, order = run["key"]
    return number_of_landscape(order) if name == "landscapes" else order


def share_until(run: Row, goal: int) -> float:
    """Of the budget in %, until a goal was reached."""
    return math.inf if run["goals"][goal] is None else 100 * run["goals"][goal][1] / run["budget"]


def median_interval(values: Sequence[float]) -> str:
    """The median with its 95 % interval from order statistics, which holds for any distribution."""
    ordered, count = sorted(values), len(values)
    place = max(int(binom.ppf(0.025, count, 0.5)), 1)
    return f"{written(median(ordered))} ({written(ordered[place - 1])} to {written(ordered[count - place])})"


def written(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


if __name__ == "__main__":
    main()
