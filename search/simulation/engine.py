"""Runs a study on virtual workers in virtual time: no training, the same proposals and decisions as a real search."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Protocol

from models.spec import CellSpec
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.journal.events import Event, SearchOpened
from search.journal.record import SearchRecord
from search.journal.study import Study
from training.score import RungScore


class Table(Protocol):
    """What cells score."""

    def scores(self, cell: CellSpec, seed: int) -> Sequence[RungScore]:
        """All that a trial of ``cell`` would tell, one per rung."""
        ...

    def quality(self, cell: CellSpec) -> float:
        """What a cell is worth, by which the best one found is judged."""
        ...

    def searched_by(self, plan: Plan) -> Plan:
        """The plan, as it can be carried out here."""
        ...


@dataclass(frozen=True, slots=True)
class Reranking:
    """After a search, its ``top`` best cells are scored under further seeds; the best by their mean is the search's result."""

    top: int = 0
    seeds: int = 4

    def __post_init__(self) -> None:
        for name, least in (("top", 0), ("seeds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"rerank.{name} must be at least {least}, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True)
class Simulated:
    """A search as it went, one entry for each trial in the order in which they ended.

    Attributes:
        worker_hours: spent by all workers up to then, on trials under way too.
        hours: on the clock.
        quality: of the leaderboard's first; 0 before there is one.
        completed: how many trials ran through every rung.
        reranked: quality of the cell that re-ranking put first; None without re-ranking.
        rerank_hours: of all workers, that it took.
    """

    worker_hours: Sequence[float]
    hours: Sequence[float]
    quality: Sequence[float]
    completed: int
    reranked: float | None = None
    rerank_hours: float = 0.0

    @property
    def result(self) -> float:
        """Quality of the cell that the search ends with."""
        return self.quality[-1] if self.reranked is None else self.reranked

    def first_at_least(self, quality: float) -> int | None:
        """The index of the first entry as good as ``quality``."""
        return next((index for index, value in enumerate(self.quality) if value >= quality), None)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls trials, drawn for each by the search's seed and its number.

    Attributes:
        failing: share of trials that fail, in the middle of their first rung.
        hanging: share that hang until somebody's patience ends, and fail then.
        hang_hours: that patience.
    """

    failing: float = 0.0
    hanging: float = 0.0
    hang_hours: float = 6.0

    def __post_init__(self) -> None:
        for name in ("failing", "hanging"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"trouble.{name} must be from 0 to 1, got {getattr(self, name)}.")
        if self.failing + self.hanging > 1:
            raise ValueError(f"trouble: failing and hanging must be at most 1 together, got {self.failing + self.hanging}.")
        if self.hang_hours <= 0:
            raise ValueError(f"trouble.hang_hours must be above 0, got {self.hang_hours}.")

    def fails_after_s(self, seed: int, trial: int, first_s: float) -> float | None:
        """Seconds until a trial whose first score takes ``first_s`` fails; None where all goes well."""
        fate = Random(f"trouble {seed} {trial}").random()
        if fate < self.failing:
            return first_s / 2
        return 3600 * self.hang_hours if fate < self.failing + self.hanging else None


NO_TROUBLE = Trouble()


NO_RERANKING = Reranking()


def simulate(
    table: Table,
    plan: Plan,
    workers: int,
    driver_s: float = 0.0,
    trouble: Trouble = NO_TROUBLE,
    reranking: Reranking = NO_RERANKING,
) -> Simulated:
    """Search with so many workers, each of which starts its next trial when the one before ends.

    Args:
        driver_s: that the one driver needs to start a trial and to answer a score, one after the other; workers wait for it.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    if driver_s < 0:
        raise ValueError(f"driver_s must be at least 0, got {driver_s}.")
    study = Study(_NoJournal(), SearchRecord(), plan, SearchOpened("simulated", {}, {}, 0.0))
    events: list[tuple[float, int, int]] = []  # when, trial, index of its score, or _FAILS
    running: dict[int, Sequence[RungScore]] = {}
    worker_s, now_s = 0.0, 0.0
    worker_hours, hours, quality = [], [], []

    def pass_until(time_s: float) -> None:
        nonlocal now_s, worker_s
        worker_s += len(running) * (time_s - now_s)
        now_s = time_s

    def start_trials() -> None:
        while len(running) < workers and (proposed := study.propose()) is not None:
            pass_until(now_s + driver_s)
            scores = table.scores(proposed.cell, proposed.seed)
            running[proposed.trial] = scores
            fails_after_s = trouble.fails_after_s(plan.seed, proposed.trial, scores[0].elapsed_s)
            if fails_after_s is None:
                heapq.heappush(events, (now_s + scores[0].elapsed_s, proposed.trial, 0))
            else:
                heapq.heappush(events, (now_s + fails_after_s, proposed.trial, _FAILS))

    start_trials()
    while events:
        ready_s, trial, index = heapq.heappop(events)
        pass_until(max(ready_s, now_s) + driver_s)
        scores = running[trial]
        if index == _FAILS:
            study.failed(trial, Status.FAILED, "trouble")
        elif study.reached(trial, scores[index]):
            took_s = scores[index + 1].elapsed_s - scores[index].elapsed_s
            heapq.heappush(events, (now_s + took_s, trial, index + 1))
            continue
        del running[trial]
        start_trials()
        best = study.record.best
        worker_hours.append(worker_s / 3600)
        hours.append(now_s / 3600)
        quality.append(table.quality(best.cell) if best else 0.0)
    reranked = _reranked(table, study.record, plan.seed, reranking)
    return Simulated(worker_hours, hours, quality, study.record.ends[Status.COMPLETED], *reranked)


def _reranked(table: Table, record: SearchRecord, seed: int, reranking: Reranking) -> tuple[float | None, float]:
    """Quality of the cell with the best mean score under further seeds, and the hours of workers that these took."""
    best = [trial.cell for trial in record.scored()[: reranking.top]]
    if not best:
        return None, 0.0
    means, took_s = [], 0.0
    for cell in best:
        again = [
            table.scores(cell, Random(f"rerank {seed} {number} {cell.digest}").getrandbits(32))[-1]
            for number in range(reranking.seeds)
        ]
        means.append(fmean(score.miou for score in again))
        took_s += sum(score.elapsed_s for score in again)
    return table.quality(best[means.index(max(means))]), took_s / 3600


_FAILS = -1


class _NoJournal:
    def append(self, *events: Event) -> None:
        """A simulation is not kept."""
