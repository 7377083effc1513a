"""What finished trials tell: the values that algorithms, leaderboards and studies compare."""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import nlargest
from operator import attrgetter
from typing import overload

from models.spec import CellSpec


class Status(StrEnum):
    """Why a trial ended."""

    COMPLETED = "completed"
    """It trained through its last rung."""
    STOPPED = "stopped"
    """The scheduler ended it at an earlier rung. It is not a bad cell: its mIoU counts among that rung's."""
    DIVERGED = "diverged"
    """Its loss was no longer a number. It has no score."""
    FAILED = "failed"
    """It could not be evaluated. It has no score."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A cell whose trial has ended.

    Attributes:
        trial: the trial's number, from 0 in order of proposal.
        rung: rungs reached; scores are comparable only between equal rungs.
        miou: mean intersection over union at that rung, 0 to 1; None where the trial has no score.
        params: the cell's exact parameters (``models.cost``).
        madds: its exact multiply-adds.
    """

    trial: int
    cell: CellSpec
    status: Status
    rung: int = 0
    miou: float | None = None
    params: int = 0
    madds: int = 0

    def __post_init__(self) -> None:
        if self.miou is not None and not (math.isfinite(self.miou) and 0 <= self.miou <= 1):
            raise ValueError(f"Evaluation: miou must be from 0 to 1 or None, got {self.miou}.")
        if self.miou is not None and self.status in (Status.DIVERGED, Status.FAILED):
            raise ValueError(f"Evaluation: a {self.status} trial has no score, got miou {self.miou}.")

    @property
    def merit(self) -> tuple[float, ...]:
        """Sorts evaluations from worst to best: by rung, mIoU, and the earlier trial; no score comes last."""
        return (self.rung, self.miou, -self.trial) if self.miou is not None else (-1, 0.0, -self.trial)


class Finished(Sequence[Evaluation]):
    """Ended trials in order of their numbers, in whatever order they ended. Adding one costs little, however many there are.

    Attributes:
        scored: those with a score, in order of their numbers.
        digests: of all their cells.
    """

    def __init__(self, evaluations: Iterable[Evaluation] = ()) -> None:
        self.digests: set[str] = set()
        self._all: list[Evaluation] = []
        self.scored: list[Evaluation] = []
        self._ranked: list[Evaluation] = []
        for evaluation in evaluations:
            self.add(evaluation)

    def add(self, evaluation: Evaluation) -> None:
        """Take in another trial that ended."""
        self.digests.add(evaluation.cell.digest)
        insort(self._all, evaluation, key=attrgetter("trial"))
        if evaluation.miou is not None:
            insort(self.scored, evaluation, key=attrgetter("trial"))
            insort(self._ranked, evaluation, key=attrgetter("merit"))

    def best(self, count: int) -> list[Evaluation]:
        """The ``count`` best with a score, best first, or as many as there are."""
        return self._ranked[: -count - 1 : -1]

    @property
    def num_settled(self) -> int:
        """How many trials have ended before the first, by number, that has not."""
        return bisect_left(range(len(self._all)), True, key=lambda index: self._all[index].trial != index)

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Evaluation: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Evaluation]: ...

    def __getitem__(self, index: int | slice) -> Evaluation | Sequence[Evaluation]:
        return self._all[index]


def excerpt(scored: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """At most ``count`` of ``scored``, in order of their numbers: the best fifth of so many, and the latest."""
    if len(scored) <= count:
        return list(scored)
    best = nlargest(count // 5, scored, key=attrgetter("merit"))
    known = {evaluation.trial for evaluation in best}
    latest = [evaluation for evaluation in scored[-count:] if evaluation.trial not in known]
    return sorted([*best, *latest[len(best) - count :]], key=attrgetter("trial"))
