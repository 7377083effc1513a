"""The append-only record of a search: the only truth.

One line per event, fsynced before anyone is told. What a search is (its leaderboard, its MLflow runs, where it resumes after a
kill) follows from these lines alone.
"""

import errno
import os
from pathlib import Path
from typing import Self

from data.system.disk import DiskPatience
from data.system.files import sync_folder
from data.system.locks import Lock, LockedError
from models.spec import PUBLISHED_OPERATORS, Operator
from search.journal.events import Event
from search.journal.lines import BEGIN, JournalError, encode, read_events


class Journal:
    """The one writer of a journal file.

    Opening repairs a torn last line (a process killed while it wrote) and reads what is there into ``events``.

    Args:
        operators: the kinds of operator that cells may hold.
        patience: with a full disk.

    Raises:
        JournalError: another process holds the journal, or a line before the last is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS,
        patience: DiskPatience | None = None,
    ) -> None:
        self.path = Path(path)
        self._given_up: str | None = None
        self._patience, self._operators = patience or DiskPatience(), operators
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = Lock(self.path.with_suffix(".lock"))
        except LockedError as holder:
            raise JournalError(f"{self.path.parent}: this search is already running ({holder}).") from None
        try:
            self.events, self._end = read_events(self.path, operators=operators)
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell() == 0:  # it may be new
                sync_folder(self.path.parent)
            if self._file.tell() > self._end.offset:
                self._take_back()
            self._patience(lambda: os.fsync(self._file.fileno()))  # a process that was killed may not have come to it
        except BaseException:
            self._lock.release()
            raise

    @property
    def safe_bytes(self) -> int:
        """How much of the file is on the disk for good. What follows was written, and may yet be taken back or lost."""
        return self._end.offset

    @property
    def is_lost(self) -> bool:
        """Whether it was given up: another process may go on with the search."""
        return self._given_up is not None

    def append(self, *events: Event) -> None:
        """Write ``events`` in one go; when this returns they are on the disk.

        Raises:
            OSError: they could not be written, and nothing of them is left behind.
            JournalError: the file is no longer there, or was given up.
        """
        lines, end = [], self._end
        for event in events:
            line, end = encode(event, end)
            lines.append(line)
        self._patience(lambda: self._write(b"".join(lines)))
        self._end = end

    def extend(self, lines: bytes) -> None:
        """Write lines that another copy of this journal holds, and read their events."""
        self._patience(lambda: self._write(lines))
        events, self._end = read_events(self.path, self._end, self._operators)
        self.events += events

    def _write(self, lines: bytes) -> None:
        if self._given_up is not None:
            raise JournalError(self._given_up)
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise JournalError(f"{self.path}: was deleted or replaced while this search ran; what it does now would be lost.")
        if self._file.seek(0, os.SEEK_END) > self._end.offset:  # an interrupt broke off a write: nobody was told of it
            self._take_back()
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except OSError:
            self._take_back()
            raise

    def _take_back(self) -> None:
        os.ftruncate(self._file.fileno(), self._end.offset)

    def give_up(self, reason: str) -> None:
        """Refuse, with ``reason``, all that any thread writes from now on: another process has taken the search over."""
        self._given_up = reason

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._file.fileno(), 0)
        self.events, self._end = [], BEGIN

    def close(self) -> None:
        """Let another process write."""
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
