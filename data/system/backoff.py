"""Waiting longer each time for what fails."""


class Backoff:
    """The waits between tries: the first is ``first_s``, each is twice the one before, none is above ``longest_s``."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The wait after a further failure."""
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._next_s = self._first_s
