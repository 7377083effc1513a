"""What a search takes over from the one that it is forked from."""

from dataclasses import replace

import pytest

from models.cost import CellCost
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.deciding.algorithms.uniform import Uniform
from search.deciding.budget import Budget
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded, TrialInherited
from search.journal.folder import JOURNAL, open_search
from search.journal.fork import inherit
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.replay import replay
from tests.search.journal.studies import SPACE, journalled, open_study, plan, run

PLAN = Plan(
    CellSpace(1, {"atrous": AtrousConvs([1, 3])}),
    Uniform(),
    NoStopping(),
    (10,),
    5,
    0,
    cost_of=lambda cell: CellCost(1, 2, 3, 4),
)
SCORING = {"proxy": {"rungs": [10]}, "features": {"shape": [8, 5, 5]}, "scoring_code": "c0de"}
OPENED = SearchOpened("parent", {**SCORING, "algorithm": "tpe"}, {}, 0.0)


def cell(rows, columns):
    return CellSpec((Branch(BACKBONE, AtrousConv((rows, columns))),))


GOOD, FAILED, RUNNING, OUTSIDE = cell(1, 1), cell(3, 1), cell(1, 3), cell(6, 6)
TRIALS = [
    CellProposed(0, OUTSIDE, 7, 100, 1000, 1.0),
    CellProposed(1, RUNNING, 7, 100, 1000, 1.0),
    CellProposed(2, GOOD, 7, 101, 1001, 1.0),
    RungReached(2, 1, 10, 0.5, 1.5, 2.0, False, "full budget", 2.0),
    TrialEnded(2, Status.COMPLETED, "full budget", 2.0, 2.0),
    TrialEnded(0, Status.COMPLETED, "full budget", 2.0, 2.0),
    CellProposed(3, FAILED, 7, 100, 1000, 3.0),
    TrialEnded(3, Status.FAILED, "out of luck", 0.5, 4.0),
]


def forked(folder, fingerprint, events=(OPENED, *TRIALS)):
    with Journal(folder / JOURNAL) as journal:
        journal.append(*events)
    return inherit(open_search(folder, PLAN.space.operator_kinds, "from"), fingerprint, PLAN)


def test_finished_trials_whose_cells_are_in_the_space_are_taken_over_and_numbered_anew(tmp_path):
    (good,) = forked(tmp_path, SCORING)
    assert (good.trial, good.cell, good.seed) == (0, GOOD, 7)
    assert (good.source, good.status, good.reason, good.elapsed_s) == ("parent", Status.COMPLETED, "full budget", 2.0)
    assert good.rungs == ((10, 0.5, 1.5, 2.0),)


def test_of_a_cell_that_a_table_holds_under_several_seeds_the_last_trial_is_taken_over(tmp_path):
    again = [
        CellProposed(4, GOOD, 8, 101, 1001, 5.0),
        RungReached(4, 1, 10, 0.4, 1.5, 2.0, False, "full budget", 6.0),
        TrialEnded(4, Status.COMPLETED, "full budget", 2.0, 6.0),
    ]
    (good,) = forked(tmp_path, SCORING, (OPENED, *TRIALS, *again))
    assert (good.cell, good.seed, good.rungs[0][1]) == (GOOD, 8, 0.4)


@pytest.mark.parametrize(
    ("changes", "is_comparable"),
    [
        ({"algorithm": "uniform", "seed": 3}, True),
        ({"proxy": {"rungs": [20]}}, False),
        ({"features": {}}, False),
        ({"settings": {"images": 200}}, False),
        ({"scoring_code": "0ther"}, False),
    ],
    ids=str,
)
def test_scores_are_comparable_where_both_searches_score_alike(tmp_path, changes, is_comparable):
    assert {trial.is_comparable for trial in forked(tmp_path, SCORING | changes)} == {is_comparable}


def test_what_was_not_comparable_to_the_parent_is_not_to_its_fork(tmp_path):
    rungs = ((10, 0.5, 1.5, 2.0),)
    old = TrialInherited(0, "grandparent", False, GOOD, 7, 100, 1000, rungs, Status.COMPLETED, "", 2.0, 0.0)
    (again,) = forked(tmp_path, SCORING, [old, OPENED])
    assert (again.source, again.is_comparable) == ("parent", False)


def test_a_fork_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"from: no search .*journal.jsonl has no first line"):
        forked(tmp_path, SCORING, [])


@pytest.mark.parametrize("is_comparable", [True, False])
def test_a_fork_begins_with_the_finished_cells_of_its_parent(tmp_path, is_comparable):
    journalled(tmp_path / "parent" / JOURNAL, plan(12), die_after=20)
    parent = SearchRecord(read_events(tmp_path / "parent" / JOURNAL)[0])
    fingerprint = {} if is_comparable else {"proxy": "another"}
    inherited = inherit(open_search(tmp_path / "parent"), fingerprint, plan(8))
    with Journal(tmp_path / "child.jsonl") as journal:
        journal.append(*inherited)
    study = journalled(tmp_path / "child.jsonl", plan(8))
    assert study.is_complete
    assert study.record.num_inherited == parent.num_ended == len(inherited) > 0
    assert study.record.num_ended == 8
    own = [trial for trial in study.record.trials.values() if not trial.source]
    assert [trial.number for trial in own] == list(range(len(inherited), len(inherited) + 8))
    assert len(study.record.ranked()) == 8 + (len(inherited) if is_comparable else 0)
    if is_comparable:
        assert len({trial.cell.digest for trial in study.record.trials.values()}) == len(inherited) + 8
    events, _ = read_events(tmp_path / "child.jsonl")
    assert replay(events, plan(8)).differences == ()


def test_cells_outside_the_childs_space_are_not_inherited(tmp_path):
    journalled(tmp_path / "parent" / JOURNAL, plan(12))
    assert inherit(open_search(tmp_path / "parent"), {}, plan(8, CellSpace(2, SPACE.operators))) == []


def dear(cell):
    """Costs that the child counts otherwise than its parent did."""
    madds = sum(branch.operator.rate[0] for branch in cell.branches if hasattr(branch.operator, "rate"))
    return CellCost(1, madds, 1, 1)


def test_a_child_counts_costs_anew_and_its_parents_cells_above_the_budget_guide_and_are_not_ranked(tmp_path):
    journalled(tmp_path / "parent" / JOURNAL, plan(12))
    of_child = replace(plan(4), cost_of=dear, budget=Budget(madds=12))
    inherited = inherit(open_search(tmp_path / "parent"), {}, of_child)
    assert [event.madds for event in inherited] == [dear(event.cell).madds for event in inherited]
    assert [event.is_comparable for event in inherited] == [event.madds <= 12 for event in inherited]
    assert 0 < sum(event.is_comparable for event in inherited) < len(inherited)
    with Journal(tmp_path / "child.jsonl") as journal:
        journal.append(*inherited)
    study = journalled(tmp_path / "child.jsonl", of_child)
    assert all(trial.madds <= 12 for trial in study.record.ranked())


def test_trials_that_failed_are_left_behind_and_their_cells_may_be_tried_again(tmp_path):
    with Journal(tmp_path / "parent" / JOURNAL) as journal:
        study = open_study(journal, plan(2))
        study.failed(study.propose().trial, Status.FAILED, "a bad night")
        run(study)
    failed, completed = SearchRecord(read_events(tmp_path / "parent" / JOURNAL)[0]).trials.values()
    (inherited,) = inherit(open_search(tmp_path / "parent"), {}, plan(2))
    assert inherited.cell == completed.cell != failed.cell


@pytest.mark.parametrize("window", [None, 6])
def test_the_parents_best_are_scored_first_and_best_first_where_scores_do_not_compare(tmp_path, window):
    journalled(tmp_path / "parent" / JOURNAL, plan(12))
    of_child = plan(8, window=window)
    inherited = inherit(open_search(tmp_path / "parent"), {"proxy": "another"}, of_child, rescore=5)
    with Journal(tmp_path / "child.jsonl") as journal:
        journal.append(*inherited)
    study = journalled(tmp_path / "child.jsonl", of_child)
    own = [trial.cell for trial in study.record.trials.values() if not trial.source]
    best = [trial.cell for trial in SearchRecord(read_events(tmp_path / "parent" / JOURNAL)[0]).ranked()[:5]]
    assert own[:5] == best
    assert replay(read_events(tmp_path / "child.jsonl")[0], of_child).differences == ()


def test_of_a_parents_best_those_outside_the_childs_space_are_neither_scored_first_nor_asked_for_their_cost(tmp_path):
    better = [
        CellProposed(4, cell(1, 3), 7, 100, 1000, 1.0),
        RungReached(4, 1, 10, 0.3, 1.5, 2.0, False, "full budget", 2.0),
        TrialEnded(4, Status.COMPLETED, "full budget", 2.0, 2.0),
        CellProposed(5, cell(6, 9), 7, 100, 1000, 1.0),
        RungReached(5, 1, 10, 0.9, 1.5, 2.0, False, "full budget", 2.0),
        TrialEnded(5, Status.COMPLETED, "full budget", 2.0, 2.0),
    ]
    with Journal(tmp_path / JOURNAL) as journal:
        journal.append(OPENED, *TRIALS, *better)

    def cost_of(asked):
        assert asked in PLAN.space
        return CellCost(1, 2, 3, 4)

    bounded = replace(PLAN, cost_of=cost_of, budget=Budget(params=100))
    inherited = inherit(open_search(tmp_path), {"proxy": "another"}, bounded, rescore=2)
    assert {trial.cell: trial.comes_first for trial in inherited} == {GOOD: True, cell(1, 3): True}


def test_a_child_that_scores_as_its_parent_did_scores_none_of_its_cells_again(tmp_path):
    journalled(tmp_path / "parent" / JOURNAL, plan(12))
    inherited = inherit(open_search(tmp_path / "parent"), {}, plan(8), rescore=5)
    assert not any(event.comes_first for event in inherited)
