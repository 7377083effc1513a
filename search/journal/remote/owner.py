"""Which driver keeps a search in a store: a file that it writes again and again.

No clocks are compared: machines' may differ, and not every store keeps times. Who wants the search watches whether the file
changes.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from data.store import Store, StoreError
from search.journal.lines import JournalError

FILE = "driver.json"
BEAT_S = 10.0
WATCH_S = 30.0
"""A driver that does not write for so long has lost its search."""
POLL_S = 1.0

_BOOT, _NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
_START_TIME = 19
"""Among the fields of a process' stat file that follow its name."""


class Owner:
    """This process, as the one that keeps the search in the folder ``store``."""

    def __init__(self, store: Store) -> None:
        self._store, self._token, self._beats = store, uuid4().hex, 0
        self._beat_at_s = 0.0

    def claim(self, tell: Callable[[str], None], watch_s: float = WATCH_S) -> None:
        """Take the search, from a driver that ended without giving it up if need be.

        Two that start within a second of each other may both get here; the later one wins, and the other hears of it at its
        next beat.

        Args:
            tell: told a line before a wait.

        Raises:
            JournalError: another driver has it.
            StoreError: the store fails.
        """
        held = self._store.read(FILE)
        if held is not None and not _has_died_here(held):
            tell(f"Waiting up to {watch_s:g} s to see whether {_named(held)} still runs this search")
            if self._changes(held, watch_s):
                raise JournalError(f"{self._store}: this search is already running ({_named(held)}).")
        self._write()
        time.sleep(POLL_S)
        self._check_held()

    def beat(self) -> None:
        """Say that this driver lives, if it is time to.

        Raises:
            JournalError: another driver has taken the search.
            StoreError: the store fails.
        """
        if time.monotonic() - self._beat_at_s >= BEAT_S:
            self._check_held()
            self._write()

    def release(self) -> None:
        """Let another driver have the search at once, if the store can be told; one that failed for long is not asked."""
        if time.monotonic() - self._beat_at_s > WATCH_S:
            return
        try:
            self._check_held()
            self._store.delete(FILE)
        except (JournalError, StoreError):
            return

    def _changes(self, held: bytes, watch_s: float) -> bool:
        """Whether another driver writes its file within ``watch_s``; False at once where it gives the search up."""
        deadline_s = time.monotonic() + watch_s
        while time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            now = self._store.read(FILE)
            if now != held:
                return now is not None
        return False

    def _write(self) -> None:
        self._beats += 1
        process = os.getpid()
        driver = {"host": socket.gethostname(), "process": process, "began": _began(process), "machine": _machine()}
        self._store.write(FILE, json.dumps({**driver, "token": self._token, "beats": self._beats}).encode())
        self._beat_at_s = time.monotonic()

    def _check_held(self) -> None:
        held = self._store.read(FILE)
        if held is None:  # this process stood still for long
            raise JournalError(f"{self._store}: another driver has taken this search over, and given it up again.")
        if self._token not in held.decode(errors="replace"):
            raise JournalError(f"{self._store}: {_named(held)} has taken this search over.")


class Watched:
    """Whether a driver has the search in ``store``, for who only looks at it, again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: bytes | None = None
        self._since_s = time.monotonic()

    def __call__(self) -> bool:
        """At the first look any file counts; one that then stays as it is was left behind by a driver that was killed."""
        held, now_s = self._store.read(FILE), time.monotonic()
        if held != self._held:
            self._held, self._since_s = held, now_s
        return held is not None and now_s - self._since_s <= WATCH_S


def _has_died_here(held: bytes) -> bool:
    """Whether the driver was a process of this machine that is no more."""
    try:
        driver = json.loads(held)
        is_here = driver["machine"] is not None and driver["machine"] == _machine()
        return is_here and driver["began"] != _began(driver["process"])
    except (ValueError, TypeError, KeyError):
        return False


def _machine() -> str | None:
    """Whose process numbers these are: this boot of this machine, and the container on it; None where that is not known.

    Machines may share a host's name, and have the same numbers of namespaces; a boot has an id of its own.
    """
    try:
        return f"{_BOOT.read_text().strip()} {_NAMESPACE.readlink()}"
    except OSError:
        return None


def _began(process: int) -> str | None:
    """When a process of this machine began, in the kernel's ticks; None where there is none: numbers are used again."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[_START_TIME]
    except OSError:
        return None


def _named(held: bytes) -> str:
    try:
        driver = json.loads(held)
        return f"process {driver['process']} on {driver['host']}"
    except (ValueError, TypeError, KeyError):
        return "another process"
