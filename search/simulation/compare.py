"""Several ways to search one table, each with many seeds."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, median, stdev

from data.pool import process_pool
from data.system.errors import UserError
from search.deciding.policy import Plan
from search.simulation.engine import NO_TROUBLE, Simulated, Table, Trouble, simulate


@dataclass(frozen=True)
class Contender:
    """One way to search, as the figure and the table name it."""

    algorithm: str
    scheduler: str
    plan: Plan

    @property
    def name(self) -> str:
        return f"{self.algorithm} + {self.scheduler}"


@dataclass(frozen=True)
class Result:
    """How a contender's searches went, one for each seed."""

    contender: Contender
    runs: Sequence[Simulated]

    @property
    def final_quality(self) -> tuple[float, float]:
        """Of what each search ended with: mean and standard deviation."""
        last = [run.quality[-1] for run in self.runs]
        return fmean(last), stdev(last) if len(last) > 1 else 0.0

    def to_reach(self, quality: float) -> "Reached":
        """What it took until the leaderboard's first was as good as ``quality``."""
        found = [(run, run.first_at_least(quality)) for run in self.runs]
        hours = [math.inf if index is None else run.worker_hours[index] for run, index in found]
        trials = [math.inf if index is None else index + 1.0 for _, index in found]
        return Reached(median(hours), median(trials), sum(map(math.isfinite, hours)))


@dataclass(frozen=True, slots=True)
class Reached:
    """Medians over seeds, where a search that never got there counts as infinite; and how many got there."""

    worker_hours: float
    trials: float
    seeds: int


def compare(
    table: Table,
    contenders: Sequence[Contender],
    workers: int,
    seeds: int,
    processes: int,
    driver_s: float = 0.0,
    trouble: Trouble = NO_TROUBLE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Search with each contender and seed, in so many processes at once."""
    jobs = [(contender, seed) for contender in contenders for seed in range(seeds)]
    runs: dict[tuple[str, int], Simulated] = {}
    for index, run in _results(table, jobs, min(processes, len(jobs)), workers, driver_s, trouble):
        contender, seed = jobs[index]
        runs[contender.name, seed] = run
        progress(len(runs), len(jobs))
    return [Result(one, [runs[one.name, seed] for seed in range(seeds)]) for one in contenders]


def top_quality(table: Table, plan: Plan, share: float, samples: int = 50_000) -> float:
    """The quality that the best ``share`` of the cells within the plan's budget have at least, from uniform samples.

    Raises:
        ValueError: none of the samples is within it.
    """
    rng = Random(0)
    cells = (plan.space.sample(rng) for _ in range(samples))
    qualities = sorted((table.quality(cell) for cell in cells if plan.allows(cell)), reverse=True)
    if not qualities:
        raise UserError(f"budget: none of {samples:,} sampled cells is within it.")
    return qualities[max(int(share * len(qualities)) - 1, 0)]


def _results(
    table: Table, jobs: Sequence[tuple[Contender, int]], processes: int, workers: int, driver_s: float, trouble: Trouble
) -> Iterator[tuple[int, Simulated]]:
    if processes == 1:
        for index, job in enumerate(jobs):
            yield index, _run(table, *job, workers, driver_s, trouble)
        return
    with process_pool(processes) as pool:
        futures = {pool.submit(_run, table, *job, workers, driver_s, trouble): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _run(table: Table, contender: Contender, seed: int, workers: int, driver_s: float, trouble: Trouble) -> Simulated:
    return simulate(table, replace(contender.plan, seed=seed), workers, driver_s, trouble)
