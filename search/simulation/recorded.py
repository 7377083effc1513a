"""The table of a search that was run: its journal, searched again in other ways."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from statistics import fmean

import numpy as np
import numpy.typing as npt

from data.system.errors import UserError
from models.spec import CellSpec
from search.deciding.algorithms.base import ATTEMPTS, Algorithm
from search.deciding.algorithms.predictor import encode_paths
from search.deciding.outcomes import Finished, Status
from search.deciding.policy import Plan
from search.deciding.space import CellSpace
from search.journal.events import Event
from search.journal.record import SearchRecord, TrialRecord
from training.score import RungScore


class RecordedTable:
    """The trials of a journal that ran through every rung: others have no scores for a scheduler that would go on.

    A cell may have several, under different seeds.

    Args:
        trials: by the cell's digest.

    Attributes:
        cells: those that have scores.

    Raises:
        ValueError: fewer than two did.
    """

    def __init__(self, trials: Mapping[str, Sequence[TrialRecord]]) -> None:
        if len(trials) < 2:
            raise UserError(
                f"journal: {len(trials)} cells ran through every rung and are within the budget, at least 2 are needed; "
                "a search with scheduler=none stops none of them early."
            )
        self._trials = trials
        self.cells = tuple(of_cell[0].cell for of_cell in trials.values())

    @classmethod
    def of(cls, events: Iterable[Event], allows: Callable[[CellSpec], bool] = lambda cell: True) -> "RecordedTable":
        """All cells of a journal that ``allows`` lets through, with what the search scored twice."""
        trials: dict[str, list[TrialRecord]] = defaultdict(list)
        record = SearchRecord(events)
        for trial in [*record.completed(), *record.repeats.values()]:
            if trial.status == Status.COMPLETED and allows(trial.cell):
                trials[trial.cell.digest].append(trial)
        return cls(trials)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Iterations at which the cells were scored."""
        return tuple(rung.iteration for rung in self._trials[self.cells[0].digest][0].rungs)

    @property
    def num_repeated(self) -> int:
        """Cells with several scores: of the others, luck cannot be told from worth."""
        return sum(len(trials) > 1 for trials in self._trials.values())

    def recorded(self, cell: CellSpec) -> Sequence[TrialRecord]:
        """The trials of one of ``cells``."""
        return self._trials[cell.digest]

    def subset(self, count: int, rng: Random) -> "RecordedTable":
        """So many of the cells, drawn at random."""
        return RecordedTable({digest: self._trials[digest] for digest in rng.sample([*self._trials], count)})

    def quality(self, cell: CellSpec) -> float:
        """The mean of a cell's scores at the last rung. Where there is only one, its luck is in it."""
        return fmean(trial.rungs[-1].miou for trial in self._trials[cell.digest])

    def scores(self, cell: CellSpec, seed: int) -> list[RungScore]:
        """As recorded: of a cell with several trials, those of the one that ``seed`` falls on."""
        trials = self._trials[cell.digest]
        rungs = trials[seed % len(trials)].rungs
        return [RungScore(rung.rung, rung.iteration, rung.miou, rung.loss, rung.elapsed_s) for rung in rungs]

    def searched_by(self, plan: Plan) -> Plan:
        """The plan among these cells: what it samples is one of them, and what else it proposes is answered by the nearest."""
        space = RecordedSpace(plan.space.num_branches, plan.space.operators, self.cells)
        algorithm = Nearest(plan.algorithm, self.cells)
        return replace(plan, space=space, algorithm=algorithm, trials=min(plan.trials, len(self.cells)))


@dataclass(frozen=True)
class RecordedSpace(CellSpace):
    """A space that is sampled among the recorded cells, so that a uniform search is one in random order."""

    cells: tuple[CellSpec, ...]

    __hash__ = CellSpace.__hash__

    def sample(self, rng: Random) -> CellSpec:
        """One of the recorded cells."""
        return rng.choice(self.cells)


@dataclass(frozen=True)
class Nearest:
    """Answers an algorithm's proposal by the recorded cell nearest to it that was not tried.

    Near is: many paths from the backbone in common; of equally near ones any, by ``rng``, since the table may lie in an order
    that tells of scores. A recorded cell answers itself, and is passed over where it was tried, as in a search.
    """

    algorithm: Algorithm
    cells: tuple[CellSpec, ...]

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        tried = finished.digests | {cell.digest for cell in pending}
        untried = [index for index, digest in enumerate(self._places) if digest not in tried]
        passed_over = 0
        for wanted in self.algorithm.propose(space, finished, pending, rng):
            if not untried:
                return
            place = self._places.get(wanted.digest)
            if place is None:
                distances = self._distances(wanted)[untried]
                place = untried[rng.choice(np.flatnonzero(distances == distances.min()).tolist())]
            elif wanted.digest in tried:
                passed_over += 1
                if passed_over < ATTEMPTS:
                    continue
                place = rng.choice(untried)
            untried.remove(place)
            tried.add(self.cells[place].digest)
            yield self.cells[place]

    def _distances(self, wanted: CellSpec) -> npt.NDArray[np.float32]:
        """Paths that only one of two cells has, for each recorded cell; columns that ``wanted`` leaves empty are known."""
        (wanted_P,) = encode_paths([wanted])
        columns = np.flatnonzero(wanted_P)
        theirs = self._encoded[:, columns]
        distances: npt.NDArray[np.float32] = self._num_paths + (np.abs(theirs - wanted_P[columns]) - theirs).sum(axis=1)
        return distances

    @cached_property
    def _places(self) -> dict[str, int]:
        return {cell.digest: index for index, cell in enumerate(self.cells)}

    @cached_property
    def _encoded(self) -> npt.NDArray[np.float32]:
        return encode_paths(self.cells)

    @cached_property
    def _num_paths(self) -> npt.NDArray[np.float32]:
        return np.asarray(self._encoded.sum(axis=1))
