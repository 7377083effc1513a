"""A disk that is full, or will be."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class DiskPatience:
    """How long a write waits for room on a full disk: what a search writes is worth more than the time.

    Attributes:
        seconds: after these it fails; at 0, at once.
        tell: told the error, once a write that waits.
    """

    seconds: float = 0.0
    tell: Callable[[OSError], None] = lambda error: None

    def __call__(self, write: Callable[[], None]) -> None:
        """Call ``write`` until it finds room; it leaves nothing behind when it fails.

        Raises:
            OSError: it failed for another reason, or there was no room in time.
        """
        deadline_s: float | None = None
        while True:
            try:
                return write()
            except OSError as error:
                if not is_full(error):
                    raise
                if deadline_s is None:
                    deadline_s = time.monotonic() + self.seconds
                    self.tell(error)
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(RETRY_S)


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk, or what a user may take of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def check_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Say at once, and not after hours of writing, that a disk is too small.

    Args:
        what: is to be written, with its verb, such as ``the features need``.

    Raises:
        OSError: the disk of ``folder`` has less room.
    """
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        reason = f"{what} {needed_bytes / 1e9:.2f} GB more, {free_bytes / 1e9:.2f} GB are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {reason}", str(folder))
