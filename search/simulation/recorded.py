"""The table of a search that was run: its journal, searched again in other ways."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
import numpy.typing as npt

from models.spec import CellSpec
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.predictor import encode_paths
from search.deciding.outcomes import Finished, Status
from search.deciding.space import CellSpace
from search.journal.events import Event
from search.journal.record import SearchRecord, TrialRecord
from training.score import RungScore


class RecordedTable:
    """The trials of a journal that ran through every rung: others have no scores for a scheduler that would go on.

    Args:
        allows: whether a cell may be proposed at all; the others are left out.

    Raises:
        ValueError: fewer than two did.
    """

    def __init__(self, events: Iterable[Event], allows: Callable[[CellSpec], bool] = lambda cell: True) -> None:
        self._trials: dict[str, TrialRecord] = {
            trial.cell.digest: trial
            for trial in SearchRecord(events).leaderboard()
            if trial.status == Status.COMPLETED and trial.miou is not None and allows(trial.cell)
        }
        if len(self._trials) < 2:
            raise ValueError(
                f"journal: {len(self._trials)} trials ran through every rung and are within the budget, at least 2 are needed; "
                "a search with scheduler=none stops none of them early."
            )

    @property
    def rungs(self) -> tuple[int, ...]:
        """Iterations at which the cells were scored."""
        return tuple(rung.iteration for rung in next(iter(self._trials.values())).rungs)

    @cached_property
    def cells(self) -> tuple[CellSpec, ...]:
        """Those that have scores."""
        return tuple(trial.cell for trial in self._trials.values())

    def quality(self, cell: CellSpec) -> float:
        """The score at the last rung."""
        return self._trials[cell.digest].rungs[-1].miou

    def scores(self, cell: CellSpec, seed: int) -> list[RungScore]:
        """As recorded, whatever the seed."""
        rungs = self._trials[cell.digest].rungs
        return [RungScore(rung.rung, rung.iteration, rung.miou, rung.loss, rung.elapsed_s) for rung in rungs]


@dataclass(frozen=True)
class Nearest:
    """Answers an algorithm's proposal by the recorded cell nearest to it that was not tried.

    Near is: many paths from the backbone in common; of equally near ones any, by ``rng``, since the table may lie in an order
    that tells of scores. With all cells of a small space recorded, each answers itself.
    """

    algorithm: Algorithm
    cells: tuple[CellSpec, ...]

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        tried = finished.digests | {cell.digest for cell in pending}
        untried = [index for index, cell in enumerate(self.cells) if cell.digest not in tried]
        for wanted in self.algorithm.propose(space, finished, pending, rng):
            if not untried:
                return
            rng.shuffle(untried)
            distances = np.abs(self._encoded[untried] - encode_paths([wanted])).sum(axis=1)
            yield self.cells[untried.pop(int(distances.argmin()))]

    @cached_property
    def _encoded(self) -> npt.NDArray[np.float32]:
        return encode_paths(self.cells)
