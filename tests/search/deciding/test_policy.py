"""A plan applied to what happens: which results a proposal and a decision see."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from models.cost import CellCost
from search.deciding.algorithms.listed import Listed
from search.deciding.algorithms.local_search import LocalSearch
from search.deciding.algorithms.prior import NearPrior, Prior
from search.deciding.algorithms.uniform import Uniform
from search.deciding.budget import Budget
from search.deciding.outcomes import Evaluation, Status
from search.deciding.policy import Plan, Policy
from search.deciding.schedulers import Decision, NoStopping
from search.deciding.space import AtrousConvs, CellSpace

SPACE = CellSpace(2, {"atrous": AtrousConvs([1, 3, 6])})
RUNGS = (10, 20)


@dataclass
class Listening:
    """As algorithm and as scheduler: writes down what it is shown."""

    finished: list[list[int]] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    peers: list[list[float]] = field(default_factory=list)

    def propose(self, space, finished, pending, rng):
        self.finished.append([evaluation.trial for evaluation in finished])
        self.pending.append(len(pending))
        while True:
            yield space.sample(rng)

    def bracket(self, trial):
        return trial % 2

    def standing(self, iterations, mious):
        return mious[-1]

    def decide(self, trial, iterations, mious, peers):
        self.peers.append(list(peers))
        return Decision(True, "it listens")


def policy(listening=None, **changes):
    plan = Plan(
        SPACE, listening or Uniform(), listening or Listening(), RUNGS, 10, 0, lambda cell: CellCost(1, 1, 1, 1), **changes
    )
    return Policy(plan)


def begin(told, count):
    for trial in range(count):
        told.begin(trial, told.next_cell())


def end(told, trial, miou=0.5):
    told.end(Evaluation(trial, SPACE.sample(Random(trial)), Status.COMPLETED, (miou, miou)))


def test_a_trial_at_its_last_rung_is_done_whatever_the_scheduler_says():
    told = policy(listening := Listening())
    assert told.decide(0, RUNGS, (0.1, 0.2)) == Decision(False, "full budget")
    assert listening.peers == []


def test_a_decision_sees_all_scores_of_its_bracket_at_its_rung_ascending():
    told = policy(listening := Listening())
    for trial, mious in {0: [0.5], 1: [0.9], 2: [0.3, 0.7], 4: [0.4]}.items():
        for rung in range(1, len(mious) + 1):
            told.score(trial, RUNGS[:rung], mious[:rung])
    told.decide(6, RUNGS[:1], [0.1])
    assert listening.peers == [[0.3, 0.4, 0.5]]


def test_a_proposal_sees_every_trial_that_has_ended_and_what_is_pending():
    told = policy(listening := Listening())
    begin(told, 3)
    end(told, 2)
    told.next_cell()
    assert listening.finished[-1] == [2]
    assert listening.pending[-1] == 2


def test_in_a_window_a_proposal_waits_for_the_trials_before_it_and_sees_those_alone():
    told = policy(listening := Listening(), window=2)
    begin(told, 2)
    end(told, 1)
    assert told.is_waiting  # for trial 0
    end(told, 0)
    assert not told.is_waiting
    told.next_cell()
    assert listening.finished[-1] == [0]
    assert listening.pending[-1] == 1


def test_in_a_window_a_decision_sees_the_trials_before_it_alone():
    told = policy(listening := Listening(), window=2)
    for trial in (0, 2, 4, 6):
        told.score(trial, RUNGS[:1], [0.1 * trial])
    told.decide(4, RUNGS[:1], [0.5])
    assert listening.peers == [[0.0, 0.2]]


def test_a_cell_is_proposed_again_only_where_its_score_is_not_comparable():
    others = policy()
    for trial, cell in enumerate(list(SPACE.members)[:-1]):
        others.begin(trial, cell)
    last = others.next_cell()
    inherited = policy()
    for trial, cell in enumerate(SPACE.members):
        inherited.begin(trial, cell, is_comparable=cell.digest != last.digest)
    assert inherited.next_cell() == last


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (Listed(SPACE.members[5:9]), SPACE.members[5:6]),
        (NearPrior(Uniform(), Prior(SPACE.members[7], strength=1e6)), SPACE.members[7:8]),
        (LocalSearch(num_initial=1, breadth=1), SPACE.neighbours(SPACE.members[-1])),
    ],
    ids=lambda given: type(given).__name__,
)
def test_each_algorithm_proposes_cells_again_that_were_scored_otherwise(algorithm, expected):
    forked = Policy(replace(policy()._plan, algorithm=algorithm))
    for trial, cell in enumerate(SPACE.members):
        forked.begin(trial, cell, is_comparable=False)
        forked.end(Evaluation(trial, cell, Status.COMPLETED, (trial / SPACE.num_distinct,) * 2, is_comparable=False))
    assert forked.next_cell() in {cell.canonical() for cell in expected}


@pytest.mark.parametrize(
    ("changes", "message"), [({"trials": 0}, "trials must be at least 1, got 0"), ({"window": 0}, "window")]
)
def test_a_plan_that_would_try_nothing_is_refused(changes, message):
    values = {"trials": 1} | changes
    with pytest.raises(ValueError, match=message):
        Plan(SPACE, Uniform(), Listening(), RUNGS, seed=0, cost_of=lambda cell: CellCost(1, 1, 1, 1), **values)


def test_a_prior_cell_over_the_budget_is_refused():
    cell = SPACE.sample(Random(0))
    algorithm = NearPrior(Uniform(), Prior(cell))
    plan = Plan(SPACE, algorithm, NoStopping(), RUNGS, 5, 0, cost_of=lambda one: CellCost(9 if one == cell else 1, 1, 1, 1))
    plan.check_costs()
    with pytest.raises(ValueError, match=r"^prior\.cell: .* is over the budget: 9 params"):
        replace(plan, budget=Budget(params=5)).check_costs()
