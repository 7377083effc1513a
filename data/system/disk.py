"""A full disk is waited for: what a search writes is worth more than the time."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class DiskPatience:
    """How long a write waits for room on a full disk.

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
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if deadline_s is None:
                    deadline_s = time.monotonic() + self.seconds
                    self.tell(error)
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(RETRY_S)
