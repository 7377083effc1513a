"""What events add up to."""

from dataclasses import replace

import pytest

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status, ranked
from search.journal.events import (
    CellProposed,
    DeviceLeftOut,
    RungReached,
    SearchClosed,
    SearchOpened,
    TrialEnded,
    TrialInherited,
)
from search.journal.record import SearchRecord

OPENED = SearchOpened("test", {}, {}, 0.0)


def cell(number):
    return CellSpec((Branch(BACKBONE, AtrousConv((1, 1 + number))),))


def trial(number, *mious, status=None, end_s=0.0):
    """A trial's events."""
    rungs = [
        RungReached(number, rung, 10 * rung, miou, 1.0, 2.0 * rung, True, "", 0.0) for rung, miou in enumerate(mious, start=1)
    ]
    ended = [TrialEnded(number, status, "", 2.5 * len(mious), end_s)] if status else []
    return [CellProposed(number, cell(number), 7, 100, 1000, 0.0), *rungs, *ended]


def inherited(number, miou, is_comparable=True):
    rungs = ((10, miou, 1.0, 2.0),)
    return TrialInherited(number, "parent", is_comparable, cell(number), 7, 100, 1000, rungs, Status.COMPLETED, "", 2.0, 0.0)


@pytest.mark.parametrize(
    ("events", "miou", "status", "elapsed_s"),
    [
        (trial(0), None, "running", 0.0),
        (trial(0, 0.2, 0.3), 0.3, "running", 4.0),
        (trial(0, 0.2, 0.3, status=Status.STOPPED), 0.3, "stopped", 5.0),
        (trial(0, 0.2, status=Status.DIVERGED), None, "diverged", 2.5),
        (trial(0, 0.2, status=Status.FAILED), None, "failed", 2.5),
        ([inherited(0, 0.4)], 0.4, "completed", 2.0),
    ],
    ids=["new", "running", "stopped", "diverged", "failed", "inherited"],
)
def test_a_trial_has_the_score_of_its_last_rung_unless_it_went_wrong(events, miou, status, elapsed_s):
    found = SearchRecord(events).trials[0]
    assert (found.miou, found.status, found.elapsed_s) == (miou, status, elapsed_s)


def test_the_leaderboard_compares_trials_where_they_last_met_and_puts_those_without_a_score_last():
    record = SearchRecord(
        [
            *trial(0, 0.9, status=Status.FAILED),
            *trial(1, 0.3, 0.4, 0.4, status=Status.COMPLETED),
            *trial(2, 0.95, status=Status.STOPPED),
            *trial(3, 0.2, 0.5, 0.6, status=Status.COMPLETED),
            *trial(4, 0.1, 0.2, 0.99),
        ]
    )
    assert [found.number for found in record.ranked()] == [2, 3, 1, 0]
    assert record.best is record.trials[2]


def test_of_equal_trials_the_earlier_one_is_the_better():
    record = SearchRecord([*trial(1, 0.5, status=Status.COMPLETED), *trial(0, 0.5, status=Status.COMPLETED)])
    assert [found.number for found in record.ranked()] == [0, 1]
    assert record.best is record.trials[0]


def test_inherited_trials_are_ranked_where_they_are_comparable_and_count_as_no_trials_of_the_search():
    record = SearchRecord([inherited(0, 0.6), inherited(1, 0.9, is_comparable=False), *trial(2, 0.5, status=Status.COMPLETED)])
    assert [found.number for found in record.ranked()] == [0, 2]
    assert record.best is record.trials[0]
    assert (record.num_inherited, record.num_proposed, record.num_ended) == (2, 1, 1)
    assert [one.trial for one in ranked(trial.evaluation() for trial in record.finished)] == [0, 2, 1]


def test_trials_finish_in_the_order_of_their_ends_whatever_a_clock_says():
    began, *ended_last = trial(0, 0.5, status=Status.COMPLETED, end_s=3.0)
    record = SearchRecord([began, *trial(1, 0.4, status=Status.STOPPED, end_s=9.0), *ended_last])
    assert [found.number for found in record.in_order_of_finishing()] == [1, 0]


def test_code_that_was_changed_twice_is_told_from_the_first_to_the_last():
    changes = [("aaaa", "bbbb"), ("bbbb", "cccc")]
    record = SearchRecord([OPENED, *(replace(OPENED, accepted={"scoring_code": change}) for change in changes)])
    assert record.accepted == {"scoring_code": ("aaaa", "cccc")}


def test_a_search_that_is_resumed_is_open_again_and_gives_every_gpu_another_chance():
    record = SearchRecord([OPENED, DeviceLeftOut("10.0.0.3 GPU 0", "CUDA error", 1.0), SearchClosed("done", 2.0)])
    assert len(record.left_out) == 1
    assert record.closed is not None
    record.apply(SearchOpened("test", {"seed": 1}, {}, 3.0))
    assert (record.left_out, record.closed) == ([], None)
    assert record.opened is OPENED  # what it was begun with
