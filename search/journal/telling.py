"""A search's events, told to the policy that decides what comes next."""

from search.deciding.policy import Plan, Policy
from search.journal.events import CellProposed, Event, RungReached, TrialEnded, TrialInherited
from search.journal.record import SearchRecord, TrialRecord


def policy_of(plan: Plan, record: SearchRecord) -> Policy:
    """The policy that was told all that ``record`` holds."""
    policy = Policy(plan)
    for trial in record.trials.values():
        _tell_all(policy, trial)
    return policy


def tell(policy: Policy, record: SearchRecord, event: Event) -> None:
    """Tell ``policy`` the latest event, which ``record`` has taken in."""
    match event:
        case TrialInherited():
            _tell_all(policy, record.trials[event.trial])
        case CellProposed():
            policy.begin(event.trial, event.cell, is_repeat=event.repeats is not None)
        case RungReached():
            _tell_score(policy, record.trials[event.trial], event.rung)
        case TrialEnded():
            policy.end(record.trials[event.trial].evaluation())


def _tell_all(policy: Policy, trial: TrialRecord) -> None:
    proposed = trial.proposed
    policy.begin(
        proposed.trial,
        trial.cell,
        trial.is_comparable,
        trial.comes_first,
        proposed.repeats is not None,
        trial.trains_through,
    )
    for rung in range(1, len(trial.rungs) + 1) if trial.is_comparable else ():
        _tell_score(policy, trial, rung)
    if trial.ended:
        policy.end(trial.evaluation())


def _tell_score(policy: Policy, trial: TrialRecord, rung: int) -> None:
    reached = trial.rungs[:rung]
    policy.score(trial.number, [each.iteration for each in reached], [each.miou for each in reached])
