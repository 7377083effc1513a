"""The order that a search's events have: what must have happened before what."""

from data.system.errors import UserError
from search.journal.events import CellProposed, Event, RungReached, SearchOpened, TrialEnded, TrialInherited, TrialsReopened


class OrderError(UserError):
    """An event that cannot follow those before it; the message says why, as the end of a sentence about its line."""


class Order:
    """The events of one journal, followed from the first. Journals without line numbers have no other order to check."""

    def __init__(self) -> None:
        self._is_opened = False
        self._rungs: list[int] = []
        """That each trial has reached."""
        self._running: set[int] = set()

    def follow(self, event: Event) -> None:
        """Take in the next event.

        Raises:
            OrderError: it cannot come next.
        """
        if isinstance(event, SearchOpened):
            self._is_opened = True
        elif not self._is_opened and not isinstance(event, TrialInherited):
            raise OrderError("comes before the search was opened: the journal's first line is missing.")
        match event:
            case CellProposed(trial) | TrialInherited(trial):
                if trial != len(self._rungs):
                    raise OrderError(f"begins trial {trial} where trial {len(self._rungs)} comes next.")
                self._rungs.append(0)
                if isinstance(event, CellProposed):
                    self._running.add(trial)
            case RungReached(trial, rung):
                if self._reached(trial) != rung - 1:
                    raise OrderError(f"says that trial {trial} reached rung {rung}, after rung {self._reached(trial)}.")
                self._rungs[trial] = rung
            case TrialEnded(trial):
                self._reached(trial)
                self._running.remove(trial)
            case TrialsReopened(trials):
                if running := [trial for trial in trials if trial >= len(self._rungs) or trial in self._running]:
                    raise OrderError(f"tries trial {running[0]} again, which has not ended.")
                self._running.update(trials)

    def _reached(self, trial: int) -> int:
        """The last rung of a running trial."""
        if trial >= len(self._rungs):
            raise OrderError(f"is of trial {trial}, which has not begun.")
        if trial not in self._running:
            raise OrderError(f"is of trial {trial}, which has ended.")
        return self._rungs[trial]
