"""Locks between processes, also on several machines that share a disk."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout


class LockedError(Exception):
    """Another process holds a lock; the message says which."""


class Lock:
    """A lock file that this process holds until ``release``, or until it dies. The file says who holds it, and stays.

    Args:
        wait: for another holder to release it.

    Raises:
        LockedError: another process, or another ``Lock`` of this one, holds it.
        OSError: the file system has no locks, or the file cannot be opened.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        # A lock that is only a file, which filelock makes where there are no others, would outlive its process.
        self._lock = FileLock(
            path, timeout=-1 if wait else 0, thread_local=False, fallback_to_soft=False, on_acquired=_write_holder
        )
        try:
            self._lock.acquire()
        except Timeout:
            raise LockedError(_holder(path)) from None

    def release(self) -> None:
        """Let another process have it."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at ``path`` now. Nothing is written there."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or no locks there
        return False
    return False


def _write_holder(descriptor: int) -> None:
    with suppress(OSError):  # on a full disk a lock is as good without
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _holder(path: Path) -> str:
    try:
        return path.read_text().strip() or "another process"
    except OSError:
        return "another process"
