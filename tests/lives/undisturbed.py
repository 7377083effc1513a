"""The same search where nothing happens: one trial after the other, in no world."""

from search.deciding.policy import Plan
from search.journal.events import Event, SearchOpened
from search.journal.lines import BEGIN, encode
from search.journal.record import SearchRecord
from search.journal.study import Study
from tests.lives.training import score_of


class Kept:
    """A journal in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, *events: Event) -> None:
        self.events += events

    @property
    def lines(self) -> bytes:
        """As they would be in a file."""
        lines, place = [], BEGIN
        for event in self.events:
            line, place = encode(event, place)
            lines.append(line)
        return b"".join(lines)


def undisturbed(plan: Plan, opened: SearchOpened) -> Kept:
    """The journal of a search by ``plan``."""
    journal = Kept()
    study = Study(journal, SearchRecord(), plan, opened)
    while (proposed := study.propose()) is not None:
        rung = 1
        while study.reached(proposed.trial, score_of(proposed.cell, proposed.seed, rung)):
            rung += 1
    study.close()
    return journal


def decided(record: SearchRecord) -> list[object]:
    """All that is decided in a search, by trial: no times."""
    return [
        (trial.cell, trial.status, [(rung.miou, rung.goes_on, rung.reason) for rung in trial.rungs])
        for _, trial in sorted(record.trials.items())
    ]
