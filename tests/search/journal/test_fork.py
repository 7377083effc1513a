"""What a search takes over from the one that it is forked from."""

import pytest

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded, TrialInherited
from search.journal.folder import JOURNAL
from search.journal.fork import inherit
from search.journal.journal import Journal

SPACE = CellSpace(1, {"atrous": AtrousConvs([1, 3])})
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
    return inherit(folder, fingerprint, SPACE, SPACE.operator_kinds)


def test_finished_trials_whose_cells_are_in_the_space_are_taken_over_and_numbered_anew(tmp_path):
    good, failed = forked(tmp_path, SCORING)
    assert (good.trial, good.cell, good.seed, good.params, good.madds) == (0, GOOD, 7, 101, 1001)
    assert (good.source, good.status, good.reason, good.elapsed_s) == ("parent", Status.COMPLETED, "full budget", 2.0)
    assert good.rungs == ((10, 0.5, 1.5, 2.0),)
    assert (failed.trial, failed.cell, failed.status, failed.rungs) == (1, FAILED, Status.FAILED, ())


@pytest.mark.parametrize(
    ("changes", "is_comparable"),
    [
        ({"algorithm": "uniform", "seed": 3}, True),
        ({"proxy": {"rungs": [20]}}, False),
        ({"features": {}}, False),
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
