"""Events as lines of a journal: JSON with a checksum, read back without trust."""

import gc
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

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
)


class JournalError(ValueError):
    """A journal that is damaged or held by another process."""


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
