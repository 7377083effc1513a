"""The order of trials, best first: one for leaderboards, elites, populations and fronts alike.

Trials that got equally far stand by their last scores, the earlier trial first where these are equal. One that ended earlier is
compared with one that got further at the highest rung that both reached, and later: it is the better one if it scored more than
the other did there or ever after. That alone is no order, since it can run in a circle (A ends above B, C scored more than A
ever did, and B more than C), so who trained for longer has the benefit of the doubt: one that ended earlier stands right behind
the last of those that got further and are not worse.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Ranking:
    """Trials with their scores, one per rung; adding one costs little, and so does the order of tens of thousands."""

    def __init__(self) -> None:
        self._trials = np.empty(0, np.int64)
        self._num_rungs = np.empty(0, np.int64)
        self._mious = np.empty((0, 0))
        self._size = 0
        self._top: dict[int, tuple[float, int, int]] = {}
        """By the rung that they ended at, the best there: score, trial (the earlier is the greater), index."""
        self._peaks: dict[int, float] = {}
        """By rung, the highest score there or ever after of those that got further."""

    def add(self, trial: int, mious: Sequence[float]) -> None:
        """Take in another trial with at least one score."""
        self._make_room(len(mious))
        self._trials[self._size], self._num_rungs[self._size] = trial, len(mious)
        self._mious[self._size, : len(mious)] = mious
        own = mious[-1], -trial, self._size
        self._top[len(mious)] = max(self._top.get(len(mious), own), own)
        peak = mious[-1]
        for rung in range(len(mious) - 1, 0, -1):
            peak = max(peak, mious[rung - 1])
            self._peaks[rung] = max(self._peaks.get(rung, peak), peak)
        self._size += 1

    def first(self) -> int:
        """The index that ``order`` begins with, at no cost: the best of the lowest rung where it beats all that got further."""
        return next(index for rung, (miou, _, index) in sorted(self._top.items()) if miou > self._peaks.get(rung, -1.0))

    def order(self) -> npt.NDArray[np.int64]:
        """Indices of the trials in the order in which they were added, best first."""
        num_rungs = self._num_rungs[: self._size]
        ordered = np.empty(0, np.int64)
        for rung in range(self._mious.shape[1], 0, -1):
            ended_here = np.flatnonzero(num_rungs == rung)
            scores = self._mious[ended_here, rung - 1]
            by_score = np.lexsort((self._trials[ended_here], -scores))
            ended_here, scores = ended_here[by_score], scores[by_score]
            best_since = np.nanmax(self._mious[ordered, rung - 1 :], axis=1)
            best_since_and_below = np.maximum.accumulate(best_since[::-1])[::-1]
            places = np.searchsorted(-best_since_and_below, -scores, side="right")
            ordered = np.insert(ordered, places, ended_here)
        return ordered

    def _make_room(self, rungs: int) -> None:
        more_rows = self._size if self._size == len(self._trials) else 0
        more_rungs = max(rungs - self._mious.shape[1], 0)
        if more_rows or more_rungs or not len(self._trials):
            rows = max(more_rows, 16) if self._size == len(self._trials) else 0
            self._trials = np.pad(self._trials, (0, rows))
            self._num_rungs = np.pad(self._num_rungs, (0, rows))
            self._mious = np.pad(self._mious, ((0, rows), (0, more_rungs)), constant_values=np.nan)
