"""A journal as MLflow runs: one per search and, nested in it, one per cell.

Every point carries the journal's own clock and what was written before is found in MLflow by tags, so that writing again
changes nothing.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from data.system.locks import Lock, LockedError
from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator
from search.journal.events import CellProposed, RungReached, TrialEnded, TrialInherited, TrialsReopened
from search.journal.lines import BEGIN, read_events
from search.journal.record import SearchRecord
from search.tracking.client import Tracker
from search.tracking.search_runs import SearchPoint, SearchRuns
from search.tracking.settings import Tracking, TrackingError

_T = TypeVar("_T")

SENDERS = 8
"""Cells that a server is told of at once. A database file has one writer."""


class Projection:
    """Writes what a journal holds into a tracker, from where it left off.

    A trial that completed or was stopped ends as a FINISHED run with a ``final_miou_percent``; one that diverged or failed as a
    FAILED run without; one that did not end is RUNNING, also where it failed before and is tried again, and KILLED once the
    search has stopped, as is the search itself. ``best_miou_percent``
    of the search is that of the leaderboard's first, over the ends of trials: one that is tried again has two. ``rank`` is the
    place in the leaderboard, as far down as ``SearchRuns.moved`` tells it.

    Only one projection at a time writes a journal's runs. After a failed write it asks the tracker what arrived.

    Args:
        safe_bytes: how much of the journal of a running search may be told; None of one that nobody writes.
        draw: draws a cell into a file, for the runs of the best; None draws none.

    Attributes:
        record: what the journal held when it was last read.
        link: to the cells in a dashboard; empty until the tracker has answered.
    """

    def __init__(
        self,
        journal: Path,
        tracking: Tracking,
        operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS,
        safe_bytes: Callable[[], int | None] = lambda: None,
        draw: Callable[[CellSpec, Path], None] | None = None,
    ) -> None:
        self.record = SearchRecord()
        self._draw = draw
        self.link = ""
        self._journal, self._tracking, self._operators, self._safe_bytes = journal, tracking, operators, safe_bytes
        self._read_to, self._read_to_s = BEGIN, 0.0
        self._ends: list[SearchPoint] = []
        self._untold: set[int] = set()
        self._is_search_untold = False
        self._runs: SearchRuns | None = None
        self._lock: Lock | None = None

    def sync(self, is_abandoned: Callable[[], bool] = lambda: False, *, has_stopped: bool = False) -> None:
        """Tell the tracker all that the journal now holds, or less if ``is_abandoned`` says so between two runs.

        Args:
            has_stopped: whether no process works on the search any more: unless its journal is closed, it was interrupted.
        """
        self._read()
        is_interrupted = has_stopped and not self.record.closed
        if self.record.opened is None or not (self._is_search_untold or self._untold or is_interrupted):
            return
        if self._lock is None:
            try:
                self._lock = Lock(self._journal.with_suffix(".tracking.lock"))
            except LockedError as holder:
                raise TrackingError(f"{self._journal.parent}: this search is tracked already ({holder}).") from None
        try:
            if self._runs is None:
                self._runs = SearchRuns(Tracker(self._tracking), self.record.opened)
                self.link = self._runs.link
                self._untold = {number for number, trial in self.record.trials.items() if not self._runs.show_end_of(trial)}
            self._tell_trials(self._runs, is_abandoned)
            if self._untold:
                return
            self._tell_ranks(self._runs, is_abandoned)
            if is_interrupted:
                self._send(partial(self._runs.interrupt, time_s=self._read_to_s), self.record.running)
            self._runs.tell_search(self.record, self._ends, self._read_to_s if is_interrupted else None)
            self._is_search_untold = False
        except Exception:
            self._runs, self._is_search_untold = None, True
            raise

    def attach(self, files: Sequence[Path], draws: bool = True) -> None:
        """Put those of ``files`` that exist into the search's run, and the best cells into its description.

        Args:
            draws: whether the best cells are drawn; a person who interrupts a search does not wait for it.
        """
        if self._runs is not None:
            self._runs.describe(self.record)
            if self._draw is not None and draws:
                self._runs.draw(self.record, self._draw)
            self._runs.attach([file for file in files if file.exists()])

    def close(self) -> None:
        """Let another projection write."""
        if self._lock:
            self._lock.release()

    def _tell_trials(self, runs: SearchRuns, is_abandoned: Callable[[], bool]) -> None:
        def tell(trial: int) -> None:
            if not is_abandoned():
                runs.tell_trial(self.record.trials[trial])
                self._untold.remove(trial)

        self._send(tell, sorted(self._untold))

    def _tell_ranks(self, runs: SearchRuns, is_abandoned: Callable[[], bool]) -> None:
        def tell(moved: tuple[int, int]) -> None:
            if not is_abandoned():
                runs.tell_rank(*moved, self._read_to.lines, self._read_to_s)

        self._send(tell, runs.moved(self.record))

    def _send(self, tell: Callable[[_T], None], what: Sequence[_T]) -> None:
        with ThreadPoolExecutor(SENDERS if self._tracking.is_server else 1) as senders:
            for _ in senders.map(tell, what):
                pass

    def _read(self) -> None:
        events, self._read_to = read_events(self._journal, self._read_to, self._operators, self._safe_bytes())
        for event in events:
            self.record.apply(event)
            self._read_to_s, self._is_search_untold = event.time_s, True
            if isinstance(event, CellProposed | RungReached | TrialEnded | TrialInherited):
                self._untold.add(event.trial)
            if isinstance(event, TrialsReopened):
                self._untold.update(event.trials)
            if isinstance(event, TrialEnded) and event.trial not in self.record.repeats:
                self._ends.append(SearchPoint(event.time_s, self.record.best))
