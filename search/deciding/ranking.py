"""The order of trials, best first: one for leaderboards, elites, populations and fronts alike.

Two trials are compared at the highest rung that both reached. That alone is no order, since it can run in a circle (A beats B
at rung 2, C beat A at rung 1, and B beat C there), so who trained for longer has the benefit of the doubt: trials that got
equally far stand by their last scores, the earlier trial first where these are equal; one that ended earlier stands right
behind the last of those that got further and had scored at least as much at its last rung.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Ranking:
    """Trials with their scores, one a rung; adding one costs little, and so does the order of tens of thousands."""

    def __init__(self) -> None:
        self._trials = np.empty(0, np.int64)
        self._num_rungs = np.empty(0, np.int64)
        self._mious = np.empty((0, 0))
        self._size = 0

    def add(self, trial: int, mious: Sequence[float]) -> None:
        """Take in another trial with at least one score."""
        self._make_room(len(mious))
        self._trials[self._size], self._num_rungs[self._size] = trial, len(mious)
        self._mious[self._size, : len(mious)] = mious
        self._size += 1

    def order(self) -> npt.NDArray[np.int64]:
        """Indices of the trials in the order in which they were added, best first."""
        num_rungs = self._num_rungs[: self._size]
        ordered = np.empty(0, np.int64)
        for rung in range(self._mious.shape[1], 0, -1):
            ended_here = np.flatnonzero(num_rungs == rung)
            scores = self._mious[ended_here, rung - 1]
            by_score = np.lexsort((self._trials[ended_here], -scores))
            ended_here, scores = ended_here[by_score], scores[by_score]
            best_from_here_on = np.maximum.accumulate(self._mious[ordered, rung - 1][::-1])[::-1]
            places = np.searchsorted(-best_from_here_on, -scores, side="right")
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
