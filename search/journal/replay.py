"""Replaying a journal: does the code, given the same events, propose and decide as it did then?"""

from collections.abc import Iterable
from dataclasses import dataclass

from search.deciding.algorithms.base import SpaceExhaustedError
from search.deciding.policy import Plan, Policy
from search.journal.events import CellProposed, Event, RungReached, TrialsReopened
from search.journal.record import SearchRecord
from search.journal.repeats import next_repeat
from search.journal.telling import policy_of, tell


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay compared, and each difference in a line."""

    proposals: int
    decisions: int
    differences: tuple[str, ...]


def replay(events: Iterable[Event], plan: Plan) -> Replayed:
    """Make every proposal and decision of a journal again, each from the events before it."""
    record = SearchRecord()
    policy = Policy(plan)
    proposals = decisions = 0
    differences: list[str] = []
    for event in events:
        if isinstance(event, CellProposed) and event.repeats is not None:
            proposals += 1
            again = next_repeat(record, plan.seed)
            if again is None or again.number != event.repeats:
                now = f"trial {again.number}" if again else "none"
                differences.append(f"trial {event.trial}: repeated trial {event.repeats}, now {now}")
        elif isinstance(event, CellProposed):
            proposals += 1
            try:
                cell = policy.next_cell()
            except SpaceExhaustedError as exhausted:
                differences.append(f"trial {event.trial}: proposed {event.cell.digest}, now none ({exhausted})")
            else:
                if cell != event.cell:
                    differences.append(f"trial {event.trial}: proposed {event.cell.digest}, now {cell.digest}")
        if isinstance(event, RungReached):
            decisions += 1
            rungs = [*record.trials[event.trial].rungs, event]
            decision = policy.decide(event.trial, [rung.iteration for rung in rungs], [rung.miou for rung in rungs])
            if (decision.goes_on, decision.reason) != (event.goes_on, event.reason):
                differences.append(
                    f"trial {event.trial}: at rung {event.rung} it {_verb(event.goes_on)} ({event.reason}), "
                    f"now it {_verb(decision.goes_on)} ({decision.reason})"
                )
        record.apply(event)
        if isinstance(event, TrialsReopened):
            policy = policy_of(plan, record)
        else:
            tell(policy, record, event)
    return Replayed(proposals, decisions, tuple(differences))


def _verb(goes_on: bool) -> str:
    return "continued" if goes_on else "was stopped"
