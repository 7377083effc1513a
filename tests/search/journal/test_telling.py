"""A policy that was told a search at once decides as one that was told it event by event: what a resume rests on."""

from random import Random

import pytest

from models.cost import CellCost
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.outcomes import Status
from search.deciding.policy import Plan, Policy
from search.deciding.schedulers import Asha
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import CellProposed, RungReached, TrialEnded, TrialInherited
from search.journal.record import SearchRecord
from search.journal.telling import policy_of, tell

SPACE = CellSpace(2, {"atrous": AtrousConvs([1, 3, 6, 9])})
RUNGS = (10, 20)


def a_search(trials):
    """Events in a random order of time: two inherited trials, then some that overlap."""
    rng = Random(0)
    cells = rng.sample(list(SPACE.enumerate()), trials + 2)
    for number, is_comparable in enumerate([True, False]):
        rungs = ((10, 0.3, 1.0, 1.0), (20, 0.4, 1.0, 2.0))
        status = Status.COMPLETED
        yield TrialInherited(number, "parent", is_comparable, cells[number], 0, 1, 1, rungs, status, "", 2.0, 0.0)
    running = []
    for number in range(2, trials + 2):
        yield CellProposed(number, cells[number], 0, 1, 1, 0.0)
        running.append((number, 1))
        while len(running) > 3:
            number_told, rung = running.pop(rng.randrange(len(running)))
            yield RungReached(number_told, rung, RUNGS[rung - 1], rng.random(), 1.0, 1.0, rung == 1, "", 0.0)
            if rung == 1:
                running.append((number_told, 2))
            else:
                yield TrialEnded(number_told, Status.COMPLETED, "", 2.0, 0.0)


@pytest.mark.parametrize("window", [None, 5])
def test_a_policy_told_at_once_proposes_and_decides_as_one_told_event_by_event(window):
    plan = Plan(SPACE, RegularizedEvolution(4, 2), Asha(10), RUNGS, 30, 0, lambda cell: CellCost(1, 1, 1, 1), window=window)
    record, told = SearchRecord(), Policy(plan)
    for event in a_search(20):
        record.apply(event)
        tell(told, record, event)
        at_once = policy_of(plan, record)
        assert at_once.is_waiting == told.is_waiting
        assert [at_once.decide(99, RUNGS[:1], [miou]) for miou in (0.2, 0.5, 0.8)] == [
            told.decide(99, RUNGS[:1], [miou]) for miou in (0.2, 0.5, 0.8)
        ]
        if not told.is_waiting:
            assert at_once.next_cell() == told.next_cell()


def test_scores_that_are_not_comparable_are_no_peers():
    plan = Plan(SPACE, RegularizedEvolution(4, 2), Asha(10), RUNGS, 30, 0, lambda cell: CellCost(1, 1, 1, 1))
    comparable, other = list(a_search(0))
    assert not policy_of(plan, SearchRecord([comparable])).decide(9, RUNGS[:1], [0.2]).goes_on
    assert policy_of(plan, SearchRecord([other])).decide(9, RUNGS[:1], [0.2]).goes_on
