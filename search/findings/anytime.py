"""What a search had found after so many hours of its workers."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from search.journal.events import Event, TrialEnded, TrialInherited
from search.journal.record import SearchRecord


@dataclass(frozen=True)
class Anytime:
    """A search as its trials ended.

    Attributes:
        hours: of training and validation, over all trials that had ended.
        found: mIoU of the leaderboard's first, 0 before there is one: the score that the ranking selected on.
    """

    hours: Sequence[float]
    found: Sequence[float]

    def at(self, hours: float) -> float:
        """What was found by then."""
        place = bisect_right(self.hours, hours)
        return self.found[place - 1] if place else 0.0


def anytime(events: Sequence[Event]) -> Anytime:
    """What a journal's search had found, and when.

    Cells scored again cost, and find nothing; those of a parent cost a fork what they cost the parent.
    """
    record, spent_s = SearchRecord(), 0.0
    hours, found = [], []
    for event in events:
        record.apply(event)
        if isinstance(event, TrialInherited) and event.is_comparable:
            spent_s += event.elapsed_s
        if isinstance(event, TrialEnded):
            spent_s += event.elapsed_s
            hours.append(spent_s / 3600)
            found.append(record.best.score if record.best else 0.0)
    return Anytime(hours, found)
