"""Keeps a running search in a store, beside the search, which it never stops or delays."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from data.store import Store
from data.system.backoff import Backoff
from search.journal.journal import Journal
from search.journal.lines import JournalError
from search.journal.record import SearchRecord
from search.journal.remote.owner import Owner
from search.journal.remote.segments import StoredJournal

POLL_S = 2.0
"""How often it looks for something new: what a lost disk may cost."""
RETRY_S = (1.0, 60.0)
"""The first and the longest wait after the store failed."""


class StoredSearch:
    """A search's folder in a store: ``journal/``, ``checkpoints/``, its driver's file and its results."""

    def __init__(self, place: Store, journal: Path) -> None:
        self.place, self.owner = place, Owner(place)
        self.journal = StoredJournal(place / "journal", journal)
        self.checkpoints = place / "checkpoints"

    def restore(self, journal: Journal, tell: Callable[[str], None]) -> None:
        """Claim the search for this process, and bring its local journal up to the store's.

        Raises:
            JournalError: another driver has the search, or the journals went different ways.
            StoreError: the store fails.
        """
        self.owner.claim(tell)
        lacked = self.journal.restore(journal, self.owner.beat)
        self.owner.beat()  # the store was slow, or this process stood still: another driver may have taken it meanwhile
        if lacked:
            tell(f"The journal resumes from {self.place}: {lacked:,} bytes were missing here")


class KeeperThread(threading.Thread):
    """Follows a search, and brings what is new to the store: its journal, its result files, and that checkpoints have served.

    Args:
        record: of the search, which its study keeps up to date.
        files: that are uploaded once they are there, and whenever they change.
        tell: told a line when the store begins to fail, and when it is up to date again.
        lose: told why, where another driver has taken the search over.

    Attributes:
        last_error: why the store is behind, in a line; None while it is not.
    """

    def __init__(
        self,
        search: StoredSearch,
        record: SearchRecord,
        files: Sequence[Path],
        tell: Callable[[str], None],
        lose: Callable[[str], None],
    ) -> None:
        super().__init__(name="dpc-store", daemon=True)
        self.last_error: str | None = None
        self._search, self._record, self._files, self._tell, self._lose = search, record, files, tell, lose
        self._uploaded: dict[Path, tuple[int, int]] = {}
        self._finished = self._forgotten = self._ended()
        self._closing, self._abandoned = threading.Event(), threading.Event()

    def run(self) -> None:
        """Sync until closed; an error is told, waited for, and tried again."""
        wait_s, backoff = POLL_S, Backoff(*RETRY_S)
        while not self._abandoned.is_set():
            is_last = self._closing.is_set()
            try:
                self._sync(is_last)
            except JournalError as lost:
                self.last_error = str(lost)
                self._lose(str(lost))
                return
            except Exception as error:
                if self.last_error is None:
                    self._tell(f"The store is failing ({error}); retrying, the search continues.")
                if is_last:
                    backoff.reset()
                self.last_error, wait_s = str(error), backoff.next_s()
            else:
                if self.last_error is not None:
                    self._tell(f"{self._search.place} is up to date again")
                self.last_error, wait_s = None, POLL_S
                backoff.reset()
                if is_last:
                    return
            (self._abandoned if is_last else self._closing).wait(wait_s)

    def close(self, timeout_s: float) -> str:
        """Bring the rest there.

        Returns:
            After at most ``timeout_s``: what is not there and why, in words; empty where nothing is missing.
        """
        self._closing.set()
        self.join(timeout_s)
        self._abandoned.set()
        if not self.is_alive() and self.last_error is None:
            return ""
        lacking = [f"{self._search.journal.lines_missing()} lines of the journal", *(path.name for path in self._changed())]
        return f"{', '.join(lacking)} ({self.last_error or f'not done after {timeout_s:g} s'})"

    def _sync(self, is_last: bool) -> None:
        self._search.owner.beat()
        self._search.journal.sync()
        for path in self._changed():
            stamp = _stamp(path)
            self._search.place.upload(path, path.name)
            self._uploaded[path] = stamp
        self._forget_checkpoints(is_last)

    def _forget_checkpoints(self, is_last: bool) -> None:
        """Delete those of trials that had ended at the last look already: a worker may upload one while its trial ends.

        At the end of a complete search, delete all.
        """
        for trial in self._finished - self._forgotten:
            self._search.checkpoints.delete(self._record.checkpoint_name(trial))
            self._forgotten |= {trial}
        self._finished = self._ended()
        if is_last and self._record.closed is not None:
            for name in self._search.checkpoints.names():
                self._search.checkpoints.delete(name)

    def _ended(self) -> frozenset[int]:
        return frozenset(number for number, trial in tuple(self._record.trials.items()) if trial.ended)

    def _changed(self) -> list[Path]:
        return [path for path in self._files if path.is_file() and self._uploaded.get(path) != _stamp(path)]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
