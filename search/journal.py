"""The append-only record of a search: the only truth.

One JSON line an event, each with a checksum, fsynced before anyone is told. What a search is (its leaderboard, its MLflow
runs, where it goes on after a kill) follows from these lines alone.
"""

import errno
import fcntl
import json
import os
import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator
from search.evaluation import Status


class JournalError(ValueError):
    """A journal that is damaged or held by another process."""


@dataclass(frozen=True, slots=True)
class SearchOpened:
    """A process began or resumed the search. ``fingerprint`` is all that must not change under one name."""

    name: str
    fingerprint: Mapping[str, Any]
    settings: Mapping[str, Any]
    time_s: float


@dataclass(frozen=True, slots=True)
class CellProposed:
    """The algorithm chose a cell. Costs are those of ``models.cost``; ``seed`` is its training's."""

    trial: int
    cell: CellSpec
    seed: int
    params: int
    madds: int
    time_s: float


@dataclass(frozen=True, slots=True)
class RungReached:
    """A trial was validated. ``rung`` counts from 1; ``loss`` is the mean training loss since the rung before."""

    trial: int
    rung: int
    iteration: int
    miou: float
    loss: float
    elapsed_s: float
    time_s: float


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial ended, and why. ``elapsed_s`` is its training and validation time."""

    trial: int
    status: Status
    reason: str
    elapsed_s: float
    time_s: float


@dataclass(frozen=True, slots=True)
class SearchClosed:
    """The search ended on its own terms: every trial done, or nothing left to propose."""

    reason: str
    time_s: float


Event = SearchOpened | CellProposed | RungReached | TrialEnded | SearchClosed
_EVENTS: dict[str, type[Event]] = {
    "search_opened": SearchOpened,
    "cell_proposed": CellProposed,
    "rung_reached": RungReached,
    "trial_ended": TrialEnded,
    "search_closed": SearchClosed,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}


class Journal:
    """The one writer of a journal file.

    Opening repairs a torn last line (a process killed while it wrote) and reads what is there into ``events``.

    Raises:
        JournalError: another process holds the journal, or a line before the last is damaged.
    """

    def __init__(self, path: str | Path, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _Lock(self.path.with_suffix(".lock"))
        try:
            self.events, end = read_events(self.path, operators=operators)
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell() > end:
                self._file.truncate(end)
        except BaseException:
            self._lock.release()
            raise

    def append(self, event: Event) -> None:
        """Write ``event``; when this returns it is on the disk. A write that failed leaves no half line behind."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            line = encode(event)
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), end)
            raise

    def close(self) -> None:
        """Let another process write."""
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(
    path: Path, offset: int = 0, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS
) -> tuple[list[Event], int]:
    """The events from byte ``offset`` on, and the byte after the last whole line: a reader beside the writer goes on there.

    Raises:
        JournalError: a line that is not the last is damaged; the message gives its number.
    """
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        file.seek(offset)
        lines = file.read().splitlines(keepends=True)
    events: list[Event] = []
    end = offset
    for index, line in enumerate(lines):
        try:
            events.append(decode(line, operators))
        except ValueError as error:
            if index == len(lines) - 1:
                break
            place = f"line {index + 1}" if offset == 0 else f"the line at byte {end}"
            raise JournalError(f"{path}: {place} is damaged ({error}).") from error
        end += len(line)
    return events, end


def encode(event: Event) -> bytes:
    """One line: the event's name and fields, and the CRC-32 of those."""
    body: dict[str, Any] = {"event": _NAMES[type(event)]}
    for field in fields(event):
        value = getattr(event, field.name)
        body[field.name] = value.to_json() if isinstance(value, CellSpec) else value
    text = json.dumps(body, allow_nan=False)
    return f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def decode(line: bytes, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> Event:
    """The event of one line.

    Raises:
        ValueError: it is not a whole line, or its checksum does not fit.
    """
    text, _, checksum = line.decode().rpartition(', "crc32": "')
    text += "}"
    if checksum != f'{zlib.crc32(text.encode()):08x}"}}\n':
        raise ValueError("its checksum does not fit")
    body = json.loads(text)
    kind = _EVENTS[body.pop("event")]
    if kind is CellProposed:
        body["cell"] = CellSpec.from_json(body["cell"], operators)
    if kind is TrialEnded:
        body["status"] = Status(body["status"])
    return kind(**body)


def now_s() -> float:
    """Seconds since 1970, to the millisecond: for people who read a journal. Nothing is decided by it."""
    return round(time.time(), 3)


class _Lock:
    """An advisory lock that dies with its process; the file says who holds it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise JournalError(f"{path.parent}: this search is already running ({holder}).") from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        self._file.close()
