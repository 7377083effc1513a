"""How fast trials end, and when the last of them will: from when each began to run, not from when a search was started."""

from collections import deque
from collections.abc import Collection
from statistics import fmean

LAST = 20
"""Trials whose time is what the next ones will take: early stopping makes a search faster as it goes."""


class Pace:
    """Told which trials run and which end; a display asks it from another thread. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._began_s: dict[int, float] = {}
        self._took_s: deque[float] = deque(maxlen=LAST)
        self._first_s: float | None = None
        self._ends = self._at_once = 0

    def run(self, trials: Collection[int], now_s: float) -> None:
        """These trials run now. One that is not among them any more, and has not ended, waits for another attempt."""
        if trials and self._first_s is None:
            self._first_s = now_s
        self._began_s = {trial: self._began_s.get(trial, now_s) for trial in trials}

    def end(self, trial: int, now_s: float) -> None:
        """The trial has ended."""
        began_s = dict(self._began_s)
        if trial in began_s:
            self._at_once, self._ends = len(began_s), self._ends + 1
            self._took_s.append(now_s - began_s.pop(trial))
            self._began_s = began_s

    def running(self, now_s: float) -> dict[int, float]:
        """How long each trial that runs has been running, the longest first."""
        return {trial: now_s - began_s for trial, began_s in sorted(self._began_s.items(), key=lambda item: item[1])}

    def per_hour(self, now_s: float) -> float | None:
        """Trials that ended an hour since the first one began; None before one has ended."""
        if self._first_s is None or not self._ends:
            return None
        return 3600 * self._ends / max(now_s - self._first_s, 1e-9)

    def left_s(self, to_begin: int, now_s: float) -> float | None:
        """Until all have ended, if each takes as long as the last ones did; None before one has ended.

        Args:
            to_begin: trials that do not run yet.
        """
        if not self._took_s:
            return None
        each_s = fmean(self._took_s)
        rest_s = [max(each_s - ran_s, 0.0) for ran_s in self.running(now_s).values()]
        return max((to_begin * each_s + sum(rest_s)) / max(len(rest_s), self._at_once), *rest_s, 0.0)
