"""An objective of one's own, as a task that workers run."""

import inspect
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ray import cloudpickle

from data.system.errors import UserError
from models.spec import CellSpec
from training.score import Objective, ObjectiveError, RungScore, as_miou

_END = object()


@dataclass(frozen=True)
class ObjectiveTask:
    """Scores a cell by an objective of one's own: a ``CellTask``.

    Attributes:
        pickled: the objective. A worker unpickles it once it has ``folder`` among those that it looks for modules in, last.
    """

    pickled: bytes
    folder: str
    rungs: Sequence[int]

    @classmethod
    def of(cls, objective: Objective, rungs: Sequence[int]) -> Self:
        """Raises a UserError where the objective cannot be sent to a worker."""
        try:
            return cls(cloudpickle.dumps(objective), str(Path.cwd()), tuple(rungs))
        except Exception as error:  # whatever its parts raise
            raise UserError(f"objective: it cannot be sent to workers ({' '.join(str(error).split())}).") from error

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """The objective's scores, checked.

        Raises:
            ObjectiveError: it gives anything but one score from 0 to 1 per rung.
        """
        if self.folder not in sys.path:
            sys.path.append(self.folder)
        objective = cloudpickle.loads(self.pickled)
        keeps = {"checkpoint": checkpoint} if "checkpoint" in inspect.signature(objective).parameters else {}
        started_s = time.monotonic()
        scores = _iterate(objective(cell, seed, **keeps))
        for rung, iteration in enumerate(self.rungs, start=1):
            score = next(scores, _END)
            if score is _END:
                raise ObjectiveError(f"objective: must yield {len(self.rungs)} scores, one per rung; it yielded {rung - 1}.")
            yield _score_at(rung, iteration, score, time.monotonic() - started_s)


def _iterate(given: Any) -> Iterator[Any]:
    try:
        return iter(given)
    except TypeError:
        raise ObjectiveError(f"objective: must yield its scores, one per rung; it returned {given!r}.") from None


def _score_at(rung: int, iteration: int, score: Any, elapsed_s: float) -> RungScore:
    if not isinstance(score, RungScore):
        return RungScore(rung, iteration, as_miou(score), None, elapsed_s)
    if score.iteration != iteration:
        raise ObjectiveError(f"objective: scored at iteration {score.iteration}, the search has a rung at {iteration}.")
    return replace(score, rung=rung)
