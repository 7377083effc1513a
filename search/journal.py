"""The append-only record of a search: the only truth.

One JSON line an event, each with a checksum, fsynced before anyone is told. What a search is (its leaderboard, its MLflow
runs, where it goes on after a kill) follows from these lines alone.
"""

import errno
import fcntl
import gc
import gzip
import json
import os
import socket
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator
from search.disk import DiskPatience
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
    """A trial was validated, and the scheduler decided.

    Attributes:
        rung: from 1.
        loss: mean training loss since the rung before.
        elapsed_s: the trial's training and validation so far.
        goes_on: False where the trial ends here: stopped, or done with its full budget.
        reason: why, in words.
    """

    trial: int
    rung: int
    iteration: int
    miou: float
    loss: float
    elapsed_s: float
    goes_on: bool
    reason: str
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
class TrialInherited:
    """A finished trial of the search that this one was forked from, under a number of its own.

    Attributes:
        source: that search's name.
        is_comparable: whether its scores were got as this search gets them. If not, they guide proposals and nothing else.
        rungs: iteration, mIoU, loss and elapsed seconds at each rung.
    """

    trial: int
    source: str
    is_comparable: bool
    cell: CellSpec
    seed: int
    params: int
    madds: int
    rungs: Sequence[tuple[int, float, float, float]]
    status: Status
    reason: str
    elapsed_s: float
    time_s: float


@dataclass(frozen=True, slots=True)
class SearchClosed:
    """The search ended on its own terms: every trial done, or nothing left to propose."""

    reason: str
    time_s: float


@dataclass(frozen=True, slots=True)
class DeviceLeftOut:
    """A GPU gets no further trials until the search is resumed: some failed there that went well elsewhere."""

    device: str
    reason: str
    time_s: float


Event = SearchOpened | TrialInherited | CellProposed | RungReached | TrialEnded | DeviceLeftOut | SearchClosed
_EVENTS: dict[str, type[Event]] = {
    "search_opened": SearchOpened,
    "trial_inherited": TrialInherited,
    "cell_proposed": CellProposed,
    "rung_reached": RungReached,
    "trial_ended": TrialEnded,
    "device_left_out": DeviceLeftOut,
    "search_closed": SearchClosed,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}


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
        self._patience, self._operators = patience or DiskPatience(), operators
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

    def append(self, *events: Event) -> None:
        """Write ``events`` in one go; when this returns they are on the disk.

        Raises:
            OSError: they could not be written, and nothing of them is left behind.
        """
        lines = b"".join(map(encode, events))
        self._patience(lambda: self._write(lines))

    def extend(self, lines: bytes) -> None:
        """Write lines that another copy of this journal holds, and read their events."""
        end = self._file.seek(0, os.SEEK_END)
        self._patience(lambda: self._write(lines))
        self.events += read_events(self.path, end, self._operators)[0]

    def _write(self, lines: bytes) -> None:
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), end)
            raise

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._file.fileno(), 0)
        self.events = []

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

    A finished journal may be kept compressed, as ``.gz``.

    Raises:
        JournalError: a line that is not the last is damaged; the message gives its number. Or a compressed file is.
    """
    if not path.exists():
        return [], 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            file.seek(offset)
            lines = file.read().splitlines(keepends=True)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise JournalError(f"{path}: damaged ({error}).") from error
    with _without_garbage_collection():
        return _decode_all(path, lines, offset, operators)


def _decode_all(
    path: Path, lines: Sequence[bytes], offset: int, operators: tuple[type[Operator], ...]
) -> tuple[list[Event], int]:
    events: list[Event] = []
    end = offset
    for index, line in enumerate(lines):
        place = f"line {index + 1}" if offset == 0 else f"the line at byte {end}"
        if not is_whole(line):
            if index == len(lines) - 1:
                break
            raise JournalError(f"{path}: {place} is damaged (its checksum does not fit).")
        try:
            events.append(decode(line, operators))
        except (ValueError, TypeError, KeyError) as error:
            raise JournalError(f"{path}: {place} is not an event that this version of dpc can read ({error}).") from error
        end += len(line)
    return events, end


def encode(event: Event) -> bytes:
    """One line: the event's name and fields, and the CRC-32 of those."""
    body: dict[str, Any] = {"event": _NAMES[type(event)]}
    for field in fields(event):
        value = getattr(event, field.name)
        body[field.name] = value
        if isinstance(value, CellSpec):
            body |= {field.name: value.to_json(), "digest": value.digest}
    text = json.dumps(body, allow_nan=False)
    return f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def decode(line: bytes, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> Event:
    """The event of one whole line."""
    body = json.loads(line.decode())
    del body["crc32"]
    if "cell" in body:
        body["cell"] = cell = CellSpec.from_json(body["cell"], operators)
        vars(cell)["digest"] = body.pop("digest")  # as its cached property would: canonical forms take long to find
    if "status" in body:
        body["status"] = Status(body["status"])
    if "rungs" in body:
        body["rungs"] = tuple(map(tuple, body["rungs"]))
    return _EVENTS[body.pop("event")](**body)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Python looks for cycles each time many objects have been made: a third of the time of reading a long journal."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def is_whole(line: bytes) -> bool:
    """Whether a line's checksum fits."""
    text, _, checksum = line.rpartition(b', "crc32": "')
    return checksum == f'{zlib.crc32(text + b"}"):08x}"}}\n'.encode()


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
