"""What a person is told of trials without a score."""

from dataclasses import replace

from models.spec import CellSpec
from search.deciding.outcomes import Status
from search.findings.failures import failures, no_score_code
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded, TrialInherited
from search.journal.record import SearchRecord

CELL = CellSpec.from_json([{"op": "conv", "kernel": 3, "rate": [1, 6], "input": -1}])


def record(*ends):
    """A search whose trials ended so: a status and a reason each."""
    events = [SearchOpened("a", {}, {}, 0.0)]
    for number, (status, reason) in enumerate(ends):
        events.append(CellProposed(number, CELL, 7, 1, 2, 1.0))
        if status == Status.COMPLETED:
            events.append(RungReached(number, 1, 10, 0.5, 1.0, 1.0, False, "full budget", 2.0))
        events.append(TrialEnded(number, status, reason, 1.0, 3.0))
    return SearchRecord(events)


def test_the_most_frequent_reason_is_told_with_how_many_have_it():
    ended = record((Status.FAILED, "a folder is missing"), (Status.FAILED, "rare"), (Status.FAILED, "a folder is missing"))
    assert failures([ended]) == "3 failed (the reason of 2: a folder is missing; retry_failed=true tries them again)"


def test_what_diverged_is_counted_apart_over_all_records_and_long_reasons_are_cut():
    ended = [
        record((Status.FAILED, "x " * 500)),
        record((Status.DIVERGED, "the loss is nan"), (Status.COMPLETED, "full budget")),
    ]
    told = failures(ended)
    assert told.startswith("1 failed (the reason: x x x ")
    assert told.endswith("[...]; retry_failed=true tries them again); 1 diverged (the reason: the loss is nan)")
    assert len(told) < 350


def test_a_search_without_a_score_is_a_failure_and_one_with_a_single_score_is_none():
    nothing, one = record((Status.FAILED, "no")), record((Status.FAILED, "no"), (Status.COMPLETED, "full budget"))
    assert (no_score_code([nothing]), no_score_code([nothing, one])) == (1, 0)
    assert failures([record((Status.COMPLETED, "full budget"))]) == ""


def test_a_score_that_another_search_got_otherwise_is_none():
    rungs = ((10, 0.5, 1.0, 1.0),)
    other = TrialInherited(0, "parent", False, CELL, 7, 1, 2, rungs, Status.COMPLETED, "full budget", 1.0, 0.0)
    assert no_score_code([SearchRecord([other])]) == 1
    assert no_score_code([SearchRecord([replace(other, is_comparable=True)])]) == 0
