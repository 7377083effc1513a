"""Early stopping: our rules decide as Ray Tune's schedulers do, from equal rungs alone."""

from dataclasses import dataclass
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from models.cost import CellCost
from search.config import load
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan, Policy
from search.deciding.schedulers import Asha, MedianStopping, NoStopping, Scheduler
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.record import SearchRecord
from search.journal.telling import tell

SPACE = CellSpace(3, {"atrous": AtrousConvs([1, 2, 3, 6, 9, 12])})
RUNGS = (1, 2, 4, 8, 16)


def ours(scheduler, mious, order):
    """Tell a policy scores in ``order`` (trials, each time its next rung); returns whether the trial went on each time."""
    record = SearchRecord()
    policy = Policy(Plan(SPACE, Uniform(), scheduler, RUNGS, 1000, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1)))

    def happen(event):
        record.apply(event)
        tell(policy, record, event)

    for trial in range(len(mious)):
        happen(CellProposed(trial, policy.next_cell(), 0, 1, 1, 0.0))
    decisions = []
    for trial in order:
        rungs = record.trials[trial].rungs
        if record.trials[trial].ended:
            continue
        seen = len(rungs) + 1
        decision = policy.decide(trial, RUNGS[:seen], mious[trial][:seen])
        decisions.append((trial, seen, decision.goes_on))
        miou = mious[trial][seen - 1]
        happen(RungReached(trial, seen, RUNGS[seen - 1], miou, 1.0, 1.0, decision.goes_on, decision.reason, 0.0))
        if not decision.goes_on:
            happen(TrialEnded(trial, Status.STOPPED, decision.reason, 1.0, 0.0))
    return decisions


def rays(scheduler, mious, order):
    """The same with a scheduler of Ray Tune."""
    controller = SimpleNamespace(get_live_trials=list)
    scheduler.set_search_properties("miou", "max")
    trials = [SimpleTrial(str(number)) for number in range(len(mious))]
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    seen, ended, decisions = [0] * len(mious), set(), []
    for number in order:
        if number in ended:
            continue
        seen[number] += 1
        result = {"iteration": RUNGS[seen[number] - 1], "miou": mious[number][seen[number] - 1]}
        goes_on = scheduler.on_trial_result(controller, trials[number], result) == TrialScheduler.CONTINUE
        if seen[number] == len(RUNGS):
            goes_on = False
        decisions.append((number, seen[number], goes_on))
        if not goes_on:  # and no on_trial_complete: Ray's median rule would count the last score twice
            ended.add(number)
    return decisions


@dataclass(frozen=True)
class SimpleTrial:
    trial_id: str


def history(seed, trials=40):
    rng = Random(seed)
    mious = [[rng.random() for _ in RUNGS] for _ in range(trials)]
    order = [trial for trial in range(trials) for _ in RUNGS]
    rng.shuffle(order)
    return mious, order


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("grace", [1, 4])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_asha_decides_as_ray_tunes(seed, grace, factor):
    mious, order = history(seed)
    rival = AsyncHyperBandScheduler(time_attr="iteration", max_t=10**9, grace_period=grace, reduction_factor=factor)
    rival._brackets[0]._rungs = [(rung, {}) for rung in reversed(RUNGS) if grace <= rung < RUNGS[-1]]  # ours, not its own
    assert ours(Asha(grace, factor), mious, order) == rays(rival, mious, order)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("grace", "least"), [(1, 3), (4, 3), (1, 10)])
def test_median_stopping_decides_as_ray_tunes(seed, grace, least):
    mious, order = history(seed)
    rival = MedianStoppingRule(time_attr="iteration", grace_period=grace, min_samples_required=least)
    assert ours(MedianStopping(grace, least), mious, order) == rays(rival, mious, order)


def test_the_cutoff_is_the_quantile_of_numpy():
    rng = np.random.default_rng(0)
    for count in range(1, 40):
        peers = np.sort(rng.random(count))
        for factor in (1.5, 2, 4):
            cutoff = np.quantile(peers, 1 - 1 / factor)
            at, below = (Asha(1, factor).decide(0, [1], [miou], list(peers)) for miou in (cutoff + 1e-12, cutoff - 1e-12))
            assert (at.goes_on, below.goes_on) == (True, False)


def test_brackets_of_hyperband_begin_later_and_later():
    hyperband = Asha(1, 2, brackets=3)
    goes_on = [[hyperband.decide(trial, [rung], [0.0], [0.5]).goes_on for rung in RUNGS] for trial in range(4)]
    assert goes_on == [[False] * 5, [True] + [False] * 4, [True, True] + [False] * 3, [False] * 5]


@pytest.mark.parametrize("scheduler", [Asha(1), MedianStopping(1, 1)], ids=lambda scheduler: type(scheduler).__name__)
def test_a_reason_names_the_scores_and_how_many_were_compared(scheduler):
    decision = scheduler.decide(0, [1], [0.25], [0.1, 0.3, 0.5])
    assert decision.goes_on is False
    assert decision.reason.startswith("0.2500 is below 0.3000, ")
    assert decision.reason.endswith(" of 3")


def test_nothing_is_stopped_without_a_scheduler():
    assert isinstance(NoStopping(), Scheduler)
    assert NoStopping().decide(0, [1], [0.0], [0.5, 0.6]).goes_on


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Asha(0), "scheduler.grace_iterations must be at least 1, got 0"),
        (lambda: Asha(1, 1.0), "scheduler.reduction_factor must be above 1, got 1.0"),
        (lambda: Asha(1, brackets=0), "scheduler.brackets must be at least 1, got 0"),
        (lambda: MedianStopping(1, 0), "scheduler.min_trials must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("scheduler", [Asha(), MedianStopping(min_trials=1)], ids=lambda one: type(one).__name__)
def test_a_grace_period_that_is_not_given_ends_at_the_first_rung_whatever_that_is(scheduler):
    """So a re-ranking, whose rungs are its own, stops at these and not at the search's."""
    name = {Asha: "asha", MedianStopping: "median"}[type(scheduler)]
    assert load("rerank", ["from=x", f"scheduler={name}"]).build("scheduler", Scheduler).grace_iterations is None
    assert not scheduler.decide(0, [7], [0.1], [0.5, 0.6, 0.7]).goes_on
    assert type(scheduler)(grace_iterations=8).decide(0, [7], [0.1], [0.5, 0.6, 0.7]).goes_on


def test_scores_that_differ_late_are_told_with_the_digits_that_do():
    assert Asha(1).decide(0, [1], [0.19821], [0.19822] * 9).reason.startswith("0.19821 is below 0.19822, ")
