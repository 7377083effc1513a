"""Searches that are killed, torn, failed, slowed, resumed, prolonged and forked at random: replays decide alike."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random

import pytest

from models.cost import CellCost
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.algorithms.local_search import LocalSearch
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.pareto import Pareto
from search.deciding.algorithms.predictor import Predictor
from search.deciding.algorithms.prior import NearPrior, Prior
from search.deciding.algorithms.tpe import Tpe
from search.deciding.algorithms.uniform import Uniform
from search.deciding.budget import Budget
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha, MedianStopping, NoStopping
from search.journal.events import CellProposed, RungReached, TrialsReopened
from search.journal.folder import LoadedSearch
from search.journal.fork import inherit
from search.journal.record import SearchRecord
from search.journal.replay import replay
from search.journal.study import Study
from tests.search.journal.studies import OPENED, RUNGS, SPACE, score

ALGORITHMS = [
    Uniform(),
    NearBest(),
    RegularizedEvolution(population_size=6, sample_size=3),
    LocalSearch(num_initial=5),
    Tpe(num_initial=5, num_candidates=6, history=10),
    Pareto(population_size=6),
    Predictor(num_initial=5, refit_every=4, history=10, trees=3, num_candidates=10, elite=3),
    NearPrior(LocalSearch(num_initial=5), Prior(SPACE.sample(Random(1)), strength=3)),
]
SCHEDULERS = {"none": NoStopping(), "asha": Asha(), "hyperband": Asha(brackets=3), "median": MedianStopping()}
TRIALS, REPEATS, MORE, OF_CHILD = 16, 2, 4, 8


class Log:
    """A journal in memory, whose last write a kill may tear."""

    def __init__(self, events=()):
        self.events, self._last = list(events), 0

    def append(self, *events):
        self.events += events
        self._last = len(events)

    def tear(self, rng):
        kept = rng.randint(0, self._last)
        del self.events[len(self.events) - self._last + kept :]
        self._last = 0


def cost(cell):
    """Wide rates are dear."""
    madds = sum(max(branch.operator.to_json().get("rate", [1])) for branch in cell.branches)
    return CellCost(1, madds, 1, 1)


def search(log, plan, rng):
    """Kill and resume a study until it is complete."""
    for _ in range(100):
        record = SearchRecord(log.events)
        stopped = [number for number, trial in record.trials.items() if trial.status == Status.STOPPED and not trial.source]
        resume = [rng.choice(stopped)] if stopped and rng.random() < 0.2 else []
        study = Study(log, record, plan, OPENED, retry_failed=rng.random() < 0.4, resume=resume)
        work(study, rng, steps=rng.randrange(1, 40), slots=rng.randint(1, 5))
        if study.is_complete:
            return study.record
        log.tear(rng)
    raise AssertionError


def work(study, rng, steps, slots):
    """Some scores and failures, in any order; the eldest trial is slow."""
    running = {}
    for _ in range(steps):
        while len(running) < slots and (proposed := study.propose()) is not None:
            known = len(study.record.trials[proposed.trial].rungs)
            running[proposed.trial] = proposed.cell, rng.randint(1, known + 1)  # on from its checkpoint, or from an older one
        if not running:
            study.close()
            return
        trial = rng.choice(sorted(running)[1:] or [*running]) if rng.random() < 0.8 else min(running)
        cell, rung = running.pop(trial)
        fate = rng.random()
        if fate < 0.12:
            study.failed(trial, Status.FAILED if fate < 0.08 else Status.DIVERGED, "chance")
        elif study.reached(trial, score(cell, rung)):
            running[trial] = cell, rung + 1


def check(events, plan):
    replayed = replay(events, plan)
    assert replayed.differences == ()
    assert replayed.proposals == sum(isinstance(event, CellProposed) for event in events)
    assert replayed.decisions == sum(isinstance(event, RungReached) for event in events) > 0
    record = SearchRecord(events)
    assert record.num_ended == record.num_proposed == plan.trials
    once = [trial for number, trial in record.trials.items() if number not in record.repeats]
    scored = [trial.cell.digest for trial in once if trial.is_comparable]
    assert len(scored) == len(set(scored))
    assert all(plan.allows(trial.cell) for trial in record.ranked())


@pytest.mark.parametrize("window", [None, 7], ids=["", "window"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)
def test_a_search_that_went_through_anything_is_replayed_without_a_difference_and_so_is_its_fork(algorithm, scheduler, window):
    rng = Random(f"{algorithm} {scheduler} {window}")
    plan = Plan(SPACE, algorithm, SCHEDULERS[scheduler], RUNGS, TRIALS, 0, cost, Budget(madds=30), window, REPEATS)
    log = Log()
    search(log, plan, rng)
    check(log.events, plan)
    record = search(log, longer := replace(plan, trials=TRIALS + MORE), rng)
    check(log.events, longer)
    child = Plan(SPACE, algorithm, SCHEDULERS[scheduler], RUNGS, OF_CHILD, 1, cost, Budget(madds=20), window)
    parent = LoadedSearch(Path("parent"), record.opened, log.events, record)
    forked = Log(inherit(parent, rng.choice([{}, {"proxy": "another"}]), child, rescore=3))
    search(forked, child, rng)
    check(forked.events, child)


def test_the_searches_above_meet_what_they_are_meant_to(monkeypatch):
    met = set()
    for algorithm, window in product(ALGORITHMS[:4], [None, 7]):
        rng = Random(f"{algorithm} asha {window}")
        log = Log()
        record = search(log, Plan(SPACE, algorithm, Asha(), RUNGS, TRIALS, 0, cost, Budget(madds=30), window), rng)
        met |= set(record.ends) | {type(event) for event in log.events}
        met |= {event.to_full_budget for event in log.events if isinstance(event, TrialsReopened)}
    assert met >= {Status.COMPLETED, Status.STOPPED, Status.DIVERGED, TrialsReopened, True, False}
