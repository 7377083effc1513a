"""Keeps a tracker up to date with a journal: once, or beside a running search."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from data.system.backoff import Backoff
from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator
from search.journal.record import SearchRecord
from search.tracking.client import one_line_errors
from search.tracking.projection import Projection
from search.tracking.settings import Tracking, TrackingError

POLL_S = 1.0
"""How often a tracking thread looks into the journal."""
RETRY_S = (1.0, 60.0)
"""The first and the longest wait after a tracker failed."""
RESULTS_S = 300.0
"""How often a running search's leaderboard and pictures are renewed."""


def track(
    journal: Path,
    tracking: Tracking,
    operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS,
    files: Sequence[Path] = (),
    draw: Callable[[CellSpec, Path], None] | None = None,
    *,
    has_stopped: bool = False,
) -> Projection:
    """Bring the tracker up to date with a journal, here and now.

    Args:
        operators: the kinds of operator that the search's cells may hold.
        files: artifacts for the search's run, such as its leaderboard.
        draw: draws a cell into a file, for the runs of the best.
        has_stopped: whether no process works on the search any more.

    Returns:
        What the tracker now shows, closed.

    Raises:
        TrackingError: the journal has no search, the tracker fails, or another process is tracking this journal.
        JournalError: the journal is damaged.
    """
    projection = Projection(journal, tracking, operators, draw=draw)
    try:
        with one_line_errors(tracking):
            projection.sync(has_stopped=has_stopped)
            if projection.record.opened is None:
                raise TrackingError(f"{journal}: there is no search to track.")
            projection.attach(files)
    finally:
        projection.close()
    return projection


class TrackingThread(threading.Thread):
    """Follows a journal and keeps the tracker up to date beside the search, which it never stops or delays.

    Args:
        results: writes the files of a search that still runs, and names them: every ``RESULTS_S``, whether the tracker answers
            or not; they are attached once it does.
        say: told in a line when the tracker begins to fail.
        safe_bytes: how much of the journal is on the disk for good: no tracker shall show what a power cut takes back.
        draw: draws a cell into a file, for the runs of the best.

    Attributes:
        last_error: why the tracker is behind, in a line; None while it is not.
    """

    def __init__(
        self,
        journal: Path,
        tracking: Tracking,
        operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS,
        results: Callable[[SearchRecord], Sequence[Path]] = lambda record: (),
        say: Callable[[str], None] = lambda line: None,
        safe_bytes: Callable[[], int | None] = lambda: None,
        draw: Callable[[CellSpec, Path], None] | None = None,
    ) -> None:
        super().__init__(name="dpc-tracking", daemon=True)
        self.last_error: str | None = None
        self._projection = Projection(journal, tracking, operators, safe_bytes, draw)
        self._tracking, self._say = tracking, say
        self._files: Sequence[Path] = ()
        self._has_stopped = True
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._is_complete = False
        self._results, self._results_at_s = results, time.monotonic() + RESULTS_S

    @property
    def link(self) -> str:
        """To the cells in a dashboard; empty until the tracker has answered."""
        return self._projection.link

    def run(self) -> None:
        """Sync until closed; an error is kept, waited for, and tried again."""
        wait_s, backoff = POLL_S, Backoff(*RETRY_S)
        unattached: Sequence[Path] = ()
        while not self._abandoned.is_set():
            is_last = self._closing.is_set()
            try:
                with one_line_errors(self._tracking):
                    self._projection.sync(self._abandoned.is_set, has_stopped=is_last and self._has_stopped)
                    if is_last:
                        files = self._files or unattached
                        self._projection.attach(files, draws=self._projection.record.closed is not None)
                    elif unattached:
                        self._projection.attach(unattached)
                        unattached = ()
                self.last_error, wait_s = None, POLL_S
                backoff.reset()
                self._is_complete = is_last and not self._abandoned.is_set()
            except Exception as error:
                if self.last_error is None and not is_last:
                    self._say(f"MLflow is behind ({error}); the search continues, and MLflow catches up later.")
                self.last_error, wait_s = str(error), backoff.next_s()
            if is_last:
                break
            if time.monotonic() >= self._results_at_s:
                self._results_at_s = time.monotonic() + RESULTS_S
                unattached = self._renewed(unattached)
            self._closing.wait(wait_s)
        self._projection.close()

    def _renewed(self, before: Sequence[Path]) -> Sequence[Path]:
        """The files of the search as the journal now stands; those of ``before`` where they cannot be written now."""
        try:
            return self._results(self._projection.record)
        except Exception as error:
            self._say(f"The files of results could not be written again: {error}")
            return before

    def close(self, timeout_s: float, files: Sequence[Path] = (), *, has_stopped: bool = True) -> bool:
        """Tell the tracker the rest and attach ``files`` to the search's run.

        A tracker that fails now is not waited for.

        Args:
            has_stopped: whether no other process may work on the search now.

        Returns:
            After at most ``timeout_s``: whether the tracker shows all that the journal holds; ``track`` catches up.
        """
        self._files, self._has_stopped = files, has_stopped
        self._closing.set()
        self.join(timeout_s)
        self._abandoned.set()
        if self.is_alive() and self.last_error is None:
            self.last_error = f"{self._tracking}: not done after {timeout_s:g} s."
        return self._is_complete
