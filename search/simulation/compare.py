"""Several ways to search, each on several tables and with many seeds."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, median

from data.pool import process_pool
from data.system.errors import UserError
from search.deciding.policy import Plan
from search.simulation.engine import NO_RERANKING, NO_TROUBLE, Reranking, Simulated, Table, Trouble, simulate


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
    """How a contender's searches went.

    Attributes:
        by_table: of each table, one search for each seed.
    """

    contender: Contender
    by_table: Sequence[Sequence[Simulated]]

    @property
    def runs(self) -> list[Simulated]:
        """All searches."""
        return [run for runs in self.by_table for run in runs]

    def independent(self, measure: Callable[[Simulated], float]) -> list[float]:
        """What an interval is made of: one number for each table, the mean of its searches; of a single table one per search.

        Searches of one table have its best cell in common, so that many of them say little about the next table.
        """
        if len(self.by_table) == 1:
            return [measure(run) for run in self.by_table[0]]
        return [fmean(map(measure, runs)) for runs in self.by_table]

    def to_reach(self, goals: Sequence[float]) -> "Reached":
        """What it took until the leaderboard's first was as good as its table's goal."""
        shares = [
            fmean(run.first_at_least(goal) is not None for run in runs) for runs, goal in zip(self.by_table, goals, strict=True)
        ]
        found = [(run, run.first_at_least(goal)) for runs, goal in zip(self.by_table, goals, strict=True) for run in runs]
        hours = [math.inf if index is None else run.worker_hours[index] for run, index in found]
        trials = [math.inf if index is None else index + 1.0 for _, index in found]
        return Reached(median(hours), median(trials), shares)


@dataclass(frozen=True, slots=True)
class Reached:
    """Medians over searches, where one that never got there counts as infinite; and the share that got there, by table."""

    worker_hours: float
    trials: float
    shares: Sequence[float]


def compare(
    tables: Sequence[Table],
    contenders: Sequence[Contender],
    *,
    workers: int,
    seeds: int,
    processes: int,
    driver_s: float = 0.0,
    trouble: Trouble = NO_TROUBLE,
    reranking: Reranking = NO_RERANKING,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Search every table with each contender and seed, in so many processes at once.

    What is drawn by a seed is the same for all contenders: their differences are of pairs.
    """
    jobs = [
        _Job(contender, table, number * seeds + seed, workers, driver_s, trouble, reranking)
        for contender in contenders
        for number, table in enumerate(tables)
        for seed in range(seeds)
    ]
    runs: dict[int, Simulated] = {}
    for index, run in _results(jobs, min(processes, len(jobs))):
        runs[index] = run
        progress(len(runs), len(jobs))
    in_order = iter([runs[index] for index in range(len(jobs))])
    return [Result(one, [[next(in_order) for _ in range(seeds)] for _ in tables]) for one in contenders]


def top_quality(table: Table, plan: Plan, share: float, samples: int = 20_000) -> float:
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


@dataclass(frozen=True)
class _Job:
    contender: Contender
    table: Table
    seed: int
    workers: int
    driver_s: float
    trouble: Trouble
    reranking: Reranking

    def run(self) -> Simulated:
        plan = replace(self.table.searched_by(self.contender.plan), seed=self.seed)
        return simulate(self.table, plan, self.workers, self.driver_s, self.trouble, self.reranking)


def _results(jobs: Sequence[_Job], processes: int) -> Iterator[tuple[int, Simulated]]:
    if processes == 1:
        for index, job in enumerate(jobs):
            yield index, job.run()
        return
    with process_pool(processes) as pool:
        futures = {pool.submit(job.run): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
