"""A journal in a store: segments of whole lines, each named by the byte of the journal that it begins with.

The last one grows, and is written again whole, until it is full. So a week of the paper's search (28,000 cells, about 47 MB) is
some 180 objects, and they are never compacted.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.store import Store
from search.journal.journal import Journal
from search.journal.lines import JournalError, is_whole

SEGMENT_BYTES = 2**18
READERS = 16
_SEGMENT = re.compile(r"\d{12,}\.jsonl")
_OPENING = b'"event": "search_opened"'


class StoredJournal:
    """The copy of a journal in a folder of a store, of which one process at a time is the writer."""

    def __init__(self, store: Store, journal: Path) -> None:
        self.store, self.journal = store, journal
        self._start = self._sent = 0

    @property
    def size_bytes(self) -> int:
        """How much of the journal is there."""
        return self._start + self._sent

    def lines_missing(self) -> int:
        """How many lines of the journal are not."""
        with self.journal.open("rb") as file:
            file.seek(self.size_bytes)
            return file.read().count(b"\n")

    def restore(self, journal: Journal, confirm: Callable[[], None] = lambda: None) -> int:
        """Bring a local journal up to what the store holds, and resume from there; returns the bytes that it lacked.

        Args:
            confirm: called before anything is deleted: raises where the search has been lost to another driver meanwhile.

        Raises:
            JournalError: neither is the beginning of the other, or the store's is damaged.
            StoreError: the store fails.
        """
        stored, local = _of_a_search(self.read()), _of_a_search(journal.path.read_bytes())
        common = min(len(stored), len(local))
        if stored[:common] != local[:common]:
            raise JournalError(
                f"{journal.path} and {self.store}: two journals of one name that have diverged; move one of them away, "
                "or choose another name=..."
            )
        if not local:
            journal.clear()
        if stored[common:]:
            journal.extend(stored[common:])
        self._start, self._sent = len(stored), 0
        for name in self._segments():
            if _first_byte(name) >= self._start:
                confirm()
                self.store.delete(name)
        return len(stored) - common

    def sync(self) -> None:
        """Write what is new.

        Raises:
            StoreError: the store fails; the next call tries the same again.
        """
        if self.journal.stat().st_size <= self.size_bytes:
            return
        with self.journal.open("rb") as file:
            file.seek(self._start)
            content = file.read()
        content = content[: content.rfind(b"\n") + 1]
        if len(content) > self._sent:
            self.store.write(_name(self._start), content)
            self._sent = len(content)
        if self._sent >= SEGMENT_BYTES:
            self._start, self._sent = self.size_bytes, 0

    def read(self, since: int = 0) -> bytes:
        """The store's whole lines from byte ``since`` on, where one begins.

        A segment ends where the next begins: a driver that had lost the search may have added to it.

        Raises:
            JournalError: one of them is damaged or missing.
            StoreError: the store fails.
        """
        names = self._segments()
        names = names[max(bisect_right([_first_byte(name) for name in names], since) - 1, 0) :]
        base = _first_byte(names[0]) if since and names else 0
        with ThreadPoolExecutor(READERS) as readers:
            contents = list(readers.map(self.store.read, names))
        starts, lines = [_first_byte(name) - base for name in names], bytearray()
        for name, start, content in zip(names, starts, contents, strict=True):
            if start > len(lines):
                raise JournalError(f"{self.store / name}: what comes before it is missing, {start - len(lines)} bytes.")
            del lines[start:]
            lines += content or b""
        while further := self.store.read(_name(base + len(lines))):  # where a listing is late
            names, starts = [*names, _name(base + len(lines))], [*starts, len(lines)]
            lines += further
        end = 0
        for line in bytes(lines).splitlines(keepends=True):
            if not is_whole(line):
                if end + len(line) == len(lines):
                    break
                place = self.store / names[bisect_right(starts, end) - 1]
                at = f"the line at byte {base + end} of the journal"
                raise JournalError(f"{place}: {at} is damaged (its checksum does not fit).")
            end += len(line)
        return bytes(lines[since - base : end])

    def _segments(self) -> list[str]:
        """Names of what is ours: a folder may hold a desktop's or a network file system's own files."""
        return [name for name in self.store.names() if _SEGMENT.fullmatch(name)]


def _name(first_byte: int) -> str:
    return f"{first_byte:012d}.jsonl"


def _first_byte(name: str) -> int:
    return int(name.partition(".")[0])


def _of_a_search(lines: bytes) -> bytes:
    """A fork that was killed before its opening line begins anew: what it wrote counts for nothing."""
    return lines if _OPENING in lines else b""
