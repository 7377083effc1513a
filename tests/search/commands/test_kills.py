"""One search whose driver is killed again and again, at random moments, on a real cluster of two nodes."""

import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import pytest
from ray import cloudpickle

from models.cost import CellCost
from search.deciding.algorithms.near_best import NearBest
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.replay import replay
from search.journal.study import Study
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cluster import connect
from search.running.resources import Resources
from search.running.run import run_study
from tests.commands import FORKING
from tests.undrawn_ray import random_identity
from training.score import DivergedError, RungScore

KILLS = 20
RUNGS = (1, 2, 4)
SPACE = CellSpace(3, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 3, 6, 9])})
PLAN = Plan(SPACE, NearBest(), Asha(1), RUNGS, 150, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1), window=8)
OPENED = SearchOpened("killed", {}, {}, 0.0)

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Steps:
    """Scores a cell without training, with a checkpoint after each rung; each computed rung leaves a line in ``log``."""

    log: Path
    life: int
    rung_s: float

    def __call__(self, cell, seed, checkpoint=None):
        done = json.loads(checkpoint.read_text()) if checkpoint and checkpoint.exists() else []
        yield from (RungScore(**score) for score in done)
        for rung in range(len(done) + 1, len(RUNGS) + 1):
            time.sleep(self.rung_s)
            rng = Random(f"{seed} {rung}")
            if rng.random() < 0.02:
                raise DivergedError("the loss was not finite by iteration 1")
            done.append(asdict(RungScore(rung, RUNGS[rung - 1], rng.random(), 1.0, float(rung))))
            with self.log.open("a") as log:
                log.write(f"{self.life} {cell.digest} {rung}\n")
            if checkpoint:
                checkpoint.parent.mkdir(exist_ok=True)
                partial = checkpoint.with_suffix(f".{os.getpid()}")
                partial.write_text(json.dumps(done))
                partial.replace(checkpoint)
            yield RungScore(**done[-1])


def drive(address, folder, life):
    """A driver's whole life, if it is not killed."""
    connect(address)
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(journal.events), PLAN, OPENED)
        task = Steps(folder / "log.txt", life, 0.05)
        run_study(
            study,
            task,
            resources=Resources(),
            tolerance=FaultTolerance(),
            checkpoints=folder / "checkpoints",
            operators=SPACE.operator_kinds,
        )


def undisturbed(folder):
    """The same search, one trial after the other and without Ray."""
    task = Steps(folder / "undisturbed.txt", 0, 0.0)
    with Journal(folder / "undisturbed.jsonl") as journal:
        study = Study(journal, SearchRecord(), PLAN, OPENED)
        while (proposed := study.propose()) is not None:
            try:
                for score in task(proposed.cell, proposed.seed):
                    if not study.reached(proposed.trial, score):
                        break
            except DivergedError as error:
                study.failed(proposed.trial, Status.DIVERGED, str(error))
        study.close()
    return study.record


def leaderboard(record):
    return [(trial.number, trial.cell, trial.status, trial.miou, len(trial.rungs)) for trial in record.ranked()]


@pytest.fixture(scope="module")
def address(ray_cluster):
    with ray_cluster(num_cpus=1) as nodes:
        nodes.add_node(num_cpus=1)  # each life starts a worker a CPU, which is what this test costs
        yield nodes.address


def test_a_search_killed_twenty_times_evaluates_every_cell_once_and_ends_with_the_same_leaderboard(address, tmp_path):
    path, rng = tmp_path / "journal.jsonl", Random(0)
    ended_by_life = []
    for life in range(KILLS + 1):
        size = path.stat().st_size if path.exists() else 0
        driver = FORKING.Process(target=drive, args=(address, tmp_path, life))
        driver.start()
        if life == KILLS:
            driver.join(120)
            assert driver.exitcode == 0
            break
        while life % 4 and driver.is_alive() and (not path.exists() or path.stat().st_size == size):
            time.sleep(0.01)  # three of four drivers live until they have written; the fourth dies at any moment
        time.sleep(rng.uniform(0.0, 1.0))
        assert driver.is_alive(), "the search was over before all kills were done: it is too short"
        driver.kill()
        driver.join()
        ended_by_life.append({trial.cell.digest for trial in SearchRecord(read_events(path)[0]).finished})

    events, _ = read_events(path)
    trials = Counter(range(PLAN.trials))
    assert Counter(event.trial for event in events if isinstance(event, CellProposed)) == trials
    assert Counter(event.trial for event in events if isinstance(event, TrialEnded)) == trials
    rungs = Counter((event.trial, event.rung) for event in events if isinstance(event, RungReached))
    assert set(rungs.values()) == {1}
    assert sum(isinstance(event, SearchOpened) for event in events) > KILLS / 2
    computed = [line.split() for line in (tmp_path / "log.txt").read_text().splitlines()]
    again = [digest for life, digest, _ in computed for ended in ended_by_life[: int(life)][-1:] if digest in ended]
    assert again == [], "cells that had ended were evaluated again"
    print(f"{KILLS} kills survived, {len(trials)} cells: 0 lost, {len(again)} evaluated again")
    record = SearchRecord(events)
    assert record.closed is not None
    assert leaderboard(record) == leaderboard(undisturbed(tmp_path))
    assert {trial.status for trial in record.finished} == {"completed", "stopped", "diverged"}
    assert replay(events, PLAN).differences == ()


def test_commands_that_are_forked_draw_identities_of_their_own():
    with FORKING.Pool(1, maxtasksperchild=1) as processes:
        first, second = (processes.apply(random_identity) for _ in range(2))
    assert first != second
