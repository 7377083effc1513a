"""Events as lines of a journal: JSON with its place and a checksum, read back without trust.

Each line carries its number and the checksum of the line before it: one that is there twice, is missing, or has changed places
with another is as visible as one that is damaged.
"""

import gc
import gzip
import json
import shlex
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator
from search.deciding.outcomes import Status
from search.journal.events import (
    CellProposed,
    DeviceLeftOut,
    Event,
    RungReached,
    SearchClosed,
    SearchOpened,
    TrialEnded,
    TrialInherited,
    TrialsReopened,
)
from search.journal.order import Order, OrderError


class JournalError(UserError):
    """A journal that is damaged or held by another process."""


_EVENTS: dict[str, type[Event]] = {
    "search_opened": SearchOpened,
    "trial_inherited": TrialInherited,
    "cell_proposed": CellProposed,
    "rung_reached": RungReached,
    "trial_ended": TrialEnded,
    "trials_reopened": TrialsReopened,
    "device_left_out": DeviceLeftOut,
    "search_closed": SearchClosed,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader or writer stands: after so many bytes and lines, of which the last has this checksum.

    Attributes:
        is_numbered: whether that line carries its number, as all have but those of journals from before there were any.
    """

    offset: int = 0
    lines: int = 0
    checksum: str = ""
    is_numbered: bool = False


BEGIN = Place()


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


def read_events(
    path: Path,
    since: Place = BEGIN,
    operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS,
    until: int | None = None,
) -> tuple[list[Event], Place]:
    """The events after a place, and the place after the last whole line: a reader beside the writer goes on there.

    A finished journal may be kept compressed, as ``.gz``.

    Args:
        until: no byte after this one is read.

    Raises:
        JournalError: a line that is not the last is damaged, or one is not where it was written; the message gives its number.
            Or a compressed file is damaged.
    """
    if not path.exists():
        return [], since
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            file.seek(since.offset)
            lines = file.read(-1 if until is None else until - since.offset).splitlines(keepends=True)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise JournalError(f"{path}: damaged ({error}).") from error
    return decode(path, lines, since, operators)


@_without_garbage_collection()
def decode(
    path: Path, lines: Sequence[bytes], since: Place, operators: tuple[type[Operator], ...]
) -> tuple[list[Event], Place]:
    """As ``read_events``, of lines that were read already; ``path`` is for messages."""
    events: list[Event] = []
    place = since
    order = Order() if place == BEGIN else None
    for line in lines:
        number = place.lines + 1
        if not is_whole(line):
            if line is lines[-1]:
                break
            raise JournalError(f"{path}: line {number} {_trouble(path, line, number)}")
        try:
            event, written = _decode(line, operators)
            place = _next(place, line, written)
            if order:
                order.follow(event)
        except OrderError as error:
            raise JournalError(f"{path}: line {number} {error} {_way_on(path, number)}") from error
        except (ValueError, TypeError, KeyError) as error:
            unreadable = f"line {number} is not an event that this version of dpc can read ({error}). {_way_on(path, number)}"
            raise JournalError(f"{path}: {unreadable}") from error
        events.append(event)
    return events, place


def _next(place: Place, line: bytes, written: tuple[int, str] | None) -> Place:
    """The place after ``line``, which says where it was ``written``: its number and the checksum before it."""
    number = place.lines + 1
    if written is None and place.is_numbered:
        raise OrderError("has no number, unlike the line before it.")
    if written is not None and written[0] != number:
        raise OrderError(f"was written as line {written[0]}: a line is missing, duplicated or out of order.")
    if written is not None and written[1] != place.checksum:
        raise OrderError("was not written after the line before it.")
    return Place(place.offset + len(line), number, _checksum(line), written is not None)


def _trouble(path: Path, line: bytes, number: int) -> str:
    if not line.strip():
        return f"is blank, as an editor may leave one: `sed -i {number}d {shlex.quote(str(path))}` removes it."
    return f"is damaged (its checksum does not fit). {_way_on(path, number)}"


def _way_on(path: Path, number: int) -> str:
    if number == 1:
        return "Nothing comes before it: restore the journal from a copy."
    return (
        f"Everything before it is intact: after `sed -i '{number},$d' {shlex.quote(str(path))}` the search resumes from there."
    )


def encode(event: Event, after: Place = BEGIN) -> tuple[bytes, Place]:
    """The line of an event that is written after a place, and the place after it.

    A line holds the event's name and fields, its own number, the checksum of the line before, and the CRC-32 of all these.
    """
    body: dict[str, Any] = {"event": _NAMES[type(event)]}
    for field in fields(event):
        value = getattr(event, field.name)
        if value is None:
            continue
        body[field.name] = value
        if isinstance(value, CellSpec):
            body |= {field.name: value.to_json(), "digest": value.digest}
    body |= {"line": after.lines + 1, "after": after.checksum}
    text = json.dumps(body, allow_nan=False)
    checksum = f"{zlib.crc32(text.encode()):08x}"
    line = f'{text[:-1]}, "crc32": "{checksum}"}}\n'.encode()
    return line, Place(after.offset + len(line), after.lines + 1, checksum, is_numbered=True)


def _decode(line: bytes, operators: tuple[type[Operator], ...]) -> tuple[Event, tuple[int, str] | None]:
    """The event of one whole line, and its number and the checksum before it, where it carries them."""
    body = json.loads(line.decode())
    del body["crc32"]
    written = (body.pop("line"), body.pop("after")) if "line" in body else None
    if "cell" in body:
        body["cell"] = cell = CellSpec.from_json(body["cell"], operators)
        vars(cell)["digest"] = body.pop("digest")  # as its cached property would: canonical forms take long to find
    if "status" in body:
        body["status"] = Status(body["status"])
    if "accepted" in body:
        body["accepted"] = {code: tuple(digests) for code, digests in body["accepted"].items()}
    if "rungs" in body:
        body["rungs"] = tuple(map(tuple, body["rungs"]))
    if body["event"] == "rung_reached":
        body.setdefault("loss", None)
    if "trials" in body:
        body["trials"] = tuple(body["trials"])
    return _EVENTS[body.pop("event")](**body), written


def is_whole(line: bytes) -> bool:
    """Whether a line's checksum fits."""
    text, _, checksum = line.rpartition(b', "crc32": "')
    return checksum == f'{zlib.crc32(text + b"}"):08x}"}}\n'.encode()


def _checksum(line: bytes) -> str:
    return line[-len('00000000"}\n') : -len('"}\n')].decode()
