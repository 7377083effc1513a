"""A search without Ray: what is proposed, journalled, decided and resumed."""

import json
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from models.cost import CellCost
from search.deciding.algorithms.near_best import NearBest
from search.deciding.budget import Budget
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.journal.events import RungReached, SearchClosed, SearchOpened
from search.journal.folder import JOURNAL
from search.journal.fork import inherit
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.replay import replay
from search.journal.study import Study
from training.score import RungScore

SPACE = CellSpace(3, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 6, 12])})
RUNGS = (10, 20, 40)
OPENED = SearchOpened("test", {}, {}, 0.0)


def plan(trials, space=SPACE, **changes):
    near_best = NearBest(near_best=0.8)
    return Plan(space, near_best, Asha(10), RUNGS, trials, seed=0, cost_of=lambda cell: CellCost(1, 2, 3, 4), **changes)


def open_study(journal, of_plan):
    return Study(journal, SearchRecord(journal.events), of_plan, OPENED)


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


@pytest.mark.parametrize("die_after", [0, 1, 2, 3, 9, 14])
def test_a_search_cut_anywhere_goes_on_to_the_same_table(tmp_path, die_after):
    journalled(tmp_path / "whole.jsonl", plan(10))
    journalled(tmp_path / "cut.jsonl", plan(10), die_after=die_after)
    assert journalled(tmp_path / "cut.jsonl", plan(10)).is_complete
    assert table(tmp_path / "cut.jsonl") == table(tmp_path / "whole.jsonl")


def test_a_deterministic_search_has_one_table_whatever_the_timing_and_however_often_it_is_cut(tmp_path):
    of_plan = plan(40, window=6)
    journalled(tmp_path / "one.jsonl", of_plan)
    expected = table(tmp_path / "one.jsonl")
    for seed in range(5):
        path = tmp_path / f"{seed}.jsonl"
        timing = Random(seed)
        while not journalled(path, of_plan, timing=timing, slots=5, die_after=timing.randrange(2, 40)).is_complete:
            pass
        assert table(path) == expected
    statuses = {status for _, status, _ in expected.values()}
    assert statuses == {Status.COMPLETED, Status.STOPPED}


def test_without_it_the_table_depends_on_timing_or_the_test_above_would_show_nothing(tmp_path):
    tables = []
    for seed in range(3):
        journalled(tmp_path / f"{seed}.jsonl", plan(40), timing=Random(seed), slots=5)
        tables.append(table(tmp_path / f"{seed}.jsonl"))
    assert tables[0] != tables[1] or tables[0] != tables[2]


@pytest.mark.parametrize("window", [None, 6])
def test_replaying_a_journal_reproduces_each_proposal_and_each_decision(tmp_path, window):
    of_plan, path, timing = plan(40, window=window), tmp_path / "journal.jsonl", Random(0)
    while not journalled(path, of_plan, timing=timing, slots=5, die_after=25).is_complete:
        pass
    events, _ = read_events(path)
    replayed = replay(events, of_plan)
    assert replayed.proposals == 40
    assert replayed.decisions == sum(isinstance(event, RungReached) for event in events)
    assert replayed.differences == ()


def test_a_replay_under_another_plan_says_what_differs(tmp_path):
    path = tmp_path / "journal.jsonl"
    journalled(path, plan(20))
    events, _ = read_events(path)
    differences = replay(events, replace(plan(20), seed=1, scheduler=Asha(40))).differences
    assert any(difference.startswith("trial 0: proposed ") for difference in differences)
    assert any("at rung 1 it was stopped" in difference for difference in differences)


def test_a_trial_that_had_its_last_score_but_not_its_end_is_ended_and_not_run_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    journalled(path, plan(2))
    lines = path.read_bytes().splitlines(keepends=True)
    last_score = max(index for index, line in enumerate(lines) if b'"rung_reached"' in line)
    path.write_bytes(b"".join(lines[: last_score + 1]))
    with Journal(path) as journal:
        study = open_study(journal, plan(2))
        assert study.propose() is None
        assert study.record.num_ended == 2


def test_an_interrupted_trial_comes_first_under_its_number_and_its_rungs_count_once(tmp_path):
    journalled(tmp_path / "journal.jsonl", plan(5), die_after=1)
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, plan(5))
        proposed = study.propose()
        assert proposed is not None
        assert proposed.trial == 0
        assert study.reached(0, score(proposed.cell, 1))
        assert len(study.record.trials[0].rungs) == 1


def test_raising_the_number_of_trials_goes_on(tmp_path):
    for trials in (4, 7):
        study = journalled(tmp_path / "journal.jsonl", plan(trials))
        assert study.is_complete
        assert study.record.num_ended == trials


def test_a_tiny_space_ends_complete_and_says_that_it_is_exhausted(tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1, 6])})
    study = journalled(tmp_path / "journal.jsonl", plan(100, space))
    events, _ = read_events(tmp_path / "journal.jsonl")
    assert study.record.num_ended == 4
    assert isinstance(events[-1], SearchClosed)
    assert "all 4 different cells" in events[-1].reason


def test_a_cell_over_the_budget_is_never_proposed(tmp_path):
    def cost_of(cell):
        params = sum(branch.operator.to_json()["kernel"] for branch in cell.branches)
        return CellCost(params, params, params, params)

    of_plan = replace(plan(60), cost_of=cost_of, budget=Budget(params=5))
    study = journalled(tmp_path / "journal.jsonl", of_plan)
    assert study.is_complete
    assert {cost_of(trial.cell).params for trial in study.record.trials.values()} == {3, 5}


@pytest.mark.parametrize("is_comparable", [True, False])
def test_a_fork_begins_with_the_finished_cells_of_its_parent(tmp_path, is_comparable):
    journalled(tmp_path / "parent" / JOURNAL, plan(12), die_after=20)
    parent = SearchRecord(read_events(tmp_path / "parent" / JOURNAL)[0])
    fingerprint = {} if is_comparable else {"proxy": "another"}
    inherited = inherit(tmp_path / "parent", fingerprint, SPACE, SPACE.operator_kinds)
    with Journal(tmp_path / "child.jsonl") as journal:
        journal.append(*inherited)
    study = journalled(tmp_path / "child.jsonl", plan(8))
    assert study.is_complete
    assert study.record.num_inherited == parent.num_ended == len(inherited) > 0
    assert study.record.num_ended == 8
    own = [trial for trial in study.record.trials.values() if not trial.source]
    assert [trial.proposed.trial for trial in own] == list(range(len(inherited), len(inherited) + 8))
    assert len(study.record.leaderboard()) == 8 + (len(inherited) if is_comparable else 0)
    if is_comparable:
        assert len({trial.cell.digest for trial in study.record.trials.values()}) == len(inherited) + 8
    events, _ = read_events(tmp_path / "child.jsonl")
    assert replay(events, plan(8)).differences == ()


def test_an_event_is_in_the_journal_before_anyone_is_told(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:

        def is_on_disk(event):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert any(line["time_s"] == event.time_s for line in lines)

        run(Study(journal, SearchRecord(), plan(3), OPENED, is_on_disk))
