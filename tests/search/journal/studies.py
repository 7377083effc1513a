"""Studies run without Ray: their trials score what a function of cell and rung says."""

from itertools import count
from random import Random

from models.cost import CellCost
from search.deciding.algorithms.near_best import NearBest
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.journal.events import SearchOpened
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.study import Study
from training.score import RungScore

SPACE = CellSpace(3, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 6, 12])})
RUNGS = (10, 20, 40)
OPENED = SearchOpened("test", {}, {}, 0.0)


def plan(trials, space=SPACE, **changes):
    near_best = NearBest(near_best=0.8)
    return Plan(space, near_best, Asha(10), RUNGS, trials, seed=0, cost_of=lambda cell: CellCost(1, 2, 3, 4), **changes)


def open_study(journal, of_plan, **how):
    return Study(journal, SearchRecord(journal.events), of_plan, OPENED, **how)


def score(cell, rung):
    """Early rungs rank cells a little otherwise than late ones."""
    noise = Random(f"{cell.digest} {rung}").uniform(-0.2, 0.2) / rung
    miou = min(max(int(cell.digest, 16) / 2**64 + noise, 0.0), 1.0)
    return RungScore(rung, RUNGS[rung - 1], miou, 1.0, float(rung))


def run(study, timing=None, slots=1, die_after=None):
    """Evaluate trials ``slots`` at a time, rungs in an order drawn from ``timing``; leave after ``die_after`` scores."""
    running = {}
    for told in count():
        while len(running) < slots and (proposed := study.propose()) is not None:
            known = len(study.record.trials[proposed.trial].rungs)
            running[proposed.trial] = proposed.cell, known + 1
        if not running or told == die_after:
            break
        trial = timing.choice(sorted(running)) if timing else min(running)
        cell, rung = running.pop(trial)
        if study.reached(trial, score(cell, rung)):
            running[trial] = cell, rung + 1
    else:
        raise AssertionError
    study.close()


def table(path):
    """All that is decided in a journal, by trial: no times."""
    trials = SearchRecord(read_events(path)[0]).trials
    return {
        number: (trial.cell, trial.status, [(rung.miou, rung.goes_on, rung.reason) for rung in trial.rungs])
        for number, trial in trials.items()
    }


def journalled(path, of_plan, **how):
    with Journal(path) as journal:
        study = open_study(journal, of_plan)
        run(study, **how)
    return study
