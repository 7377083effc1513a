import pytest

from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.remote import owner


@pytest.fixture
def trial():
    """Makes the events of a trial from its proposal to its end."""

    def events(number, cell=None):
        start_s = 1000.0 + number
        cell = cell or CellSpec((Branch(-1, AtrousConv((1 + number, 1 + number))),))
        rungs = [
            RungReached(number, rung, 100 * rung, 0.1 * rung, 1.0, float(rung), rung < 2, "all", start_s) for rung in (1, 2)
        ]
        proposed = CellProposed(number, cell, number, 1000, 2_000_000, start_s)
        return [proposed, *rungs, TrialEnded(number, Status.COMPLETED, "all", 2.0, start_s)]

    return events


@pytest.fixture
def quick_owners(monkeypatch):
    monkeypatch.setattr(owner, "BEAT_S", 0.0)
    monkeypatch.setattr(owner, "POLL_S", 0.02)
