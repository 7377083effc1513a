"""The table of a search that was run: its journal, searched again in other ways."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import fmean

import numpy as np
import numpy.typing as npt

from data.system.errors import UserError
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

    A cell may have several, under different seeds.

    Args:
        allows: whether a cell may be proposed at all; the others are left out.

    Raises:
        ValueError: fewer than two did.
    """

    def __init__(self, events: Iterable[Event], allows: Callable[[CellSpec], bool] = lambda cell: True) -> None:
        self._trials: dict[str, list[TrialRecord]] = defaultdict(list)
        for trial in SearchRecord(events).leaderboard():
            if trial.status == Status.COMPLETED and trial.miou is not None and allows(trial.cell):
                self._trials[trial.cell.digest].append(trial)
        if len(self._trials) < 2:
            raise UserError(
                f"journal: {len(self._trials)} cells ran through every rung and are within the budget, at least 2 are needed; "
                "a search with scheduler=none stops none of them early."
            )

    @property
    def rungs(self) -> tuple[int, ...]:
        """Iterations at which the cells were scored."""
        return tuple(rung.iteration for rung in next(iter(self._trials.values()))[0].rungs)

    @cached_property
    def cells(self) -> tuple[CellSpec, ...]:
        """Those that have scores."""
        return tuple(trials[0].cell for trials in self._trials.values())

    def quality(self, cell: CellSpec) -> float:
        """The score at the last rung: of a cell with several trials, their mean."""
        return fmean(trial.rungs[-1].miou for trial in self._trials[cell.digest])

    def scores(self, cell: CellSpec, seed: int) -> list[RungScore]:
        """As recorded: of a cell with several trials, those of the one that ``seed`` falls on."""
        trials = self._trials[cell.digest]
        rungs = trials[seed % len(trials)].rungs
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
