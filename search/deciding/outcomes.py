"""What finished trials tell: the values that algorithms, leaderboards and studies compare."""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import overload

from models.spec import CellSpec
from search.deciding.ranking import Ranking


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

    @property
    def has_score(self) -> bool:
        """Whether the score of its last rung counts."""
        return self in (Status.COMPLETED, Status.STOPPED)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A cell whose trial has ended.

    Attributes:
        trial: the trial's number, from 0 in order of proposal.
        mious: mean intersection over union at each rung that it reached, 0 to 1; none where the trial has no score.
        params: the cell's exact parameters (``models.cost``).
        madds: its exact multiply-adds.
        latency_ms: by the search's table; None where it has none.
        is_comparable: whether it was scored as the search scores. One that was not ranks below all that were.
    """

    trial: int
    cell: CellSpec
    status: Status
    mious: Sequence[float] = ()
    params: int = 0
    madds: int = 0
    is_comparable: bool = True
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        if any(not (math.isfinite(miou) and 0 <= miou <= 1) for miou in self.mious):
            raise ValueError(f"Evaluation: mious must be from 0 to 1, got {list(self.mious)}.")
        if self.mious and not self.status.has_score:
            raise ValueError(f"Evaluation: a {self.status} trial has no score, got mious {list(self.mious)}.")

    @property
    def miou(self) -> float | None:
        """At the last rung; None where the trial has no score."""
        return self.mious[-1] if self.mious else None

    @property
    def score(self) -> float:
        """``miou``, of one that is known to have it."""
        return self.mious[-1]


def ranked(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Best first, as ``search.deciding.ranking`` has it; those that other searches scored follow, and those without a score."""
    return Finished(evaluations).ranked()


class Finished(Sequence[Evaluation]):
    """Ended trials in order of their numbers, in whatever order they ended. Adding one costs little, however many there are.

    Attributes:
        scored: those with a score, in order of their numbers.
        digests: of their cells, but of those that were scored otherwise alone, which may be scored again.
    """

    def __init__(self, evaluations: Iterable[Evaluation] = ()) -> None:
        self.digests: set[str] = set()
        self._all: list[Evaluation] = []
        self.scored: list[Evaluation] = []
        self._own = _Ranked()
        self._others = _Ranked()
        for evaluation in evaluations:
            self.add(evaluation)

    def add(self, evaluation: Evaluation) -> None:
        """Take in another trial that ended."""
        if evaluation.is_comparable:
            self.digests.add(evaluation.cell.digest)
        insort(self._all, evaluation, key=attrgetter("trial"))
        if evaluation.mious:
            insort(self.scored, evaluation, key=attrgetter("trial"))
            (self._own if evaluation.is_comparable else self._others).add(evaluation)

    def best(self, count: int) -> list[Evaluation]:
        """The ``count`` best with a score, best first, or as many as there are."""
        best = self._own.best(count)
        return best + self._others.best(count - len(best))

    def ranked(self) -> list[Evaluation]:
        """All of them, best first: as ``search.deciding.outcomes.ranked``."""
        return [*self.best(len(self)), *(evaluation for evaluation in self if not evaluation.mious)]

    def excerpt(self, count: int, before: float = math.inf) -> list[Evaluation]:
        """At most ``count`` with a score, of trials with numbers below ``before``: the best fifth of so many, and the latest.

        In order of their numbers.
        """
        end = bisect_left(self.scored, before, key=attrgetter("trial"))
        if end <= count:
            return self.scored[:end]
        best = list(islice((one for one in self.best(len(self)) if one.trial < before), count // 5))
        known = {one.trial for one in best}
        latest = [one for one in self.scored[end - count : end] if one.trial not in known]
        return sorted([*best, *latest[len(best) - count :]], key=attrgetter("trial"))

    def first_awaited(self, lag: int) -> int:
        """The number of the first trial that is worth waiting for: it has not ended, and few later ones have.

        Of the latest trials those end first that were stopped early, so whoever looks at the youngest sees the worst, and
        waits for their elders. But not for one that hangs or is to be tried again: ``lag`` later trials have overtaken it.
        """
        for index in range(max(len(self._all) - lag + 1, 0), len(self._all)):
            expected = self._all[index - 1].trial + 1 if index else 0
            if self._all[index].trial != expected:
                return expected
        return self._all[-1].trial + 1 if self._all else 0

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Evaluation: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Evaluation]: ...

    def __getitem__(self, index: int | slice) -> Evaluation | Sequence[Evaluation]:
        return self._all[index]


class _Ranked:
    """Evaluations with a score, and their order, which is found when it is asked for, whichever thread asks."""

    def __init__(self) -> None:
        self._evaluations: list[Evaluation] = []
        self._ranking = Ranking()
        self._order: list[int] = []

    def add(self, evaluation: Evaluation) -> None:
        self._evaluations.append(evaluation)
        self._ranking.add(evaluation.trial, evaluation.mious)

    def best(self, count: int) -> list[Evaluation]:
        if count == 1 and self._evaluations:  # asked for after each trial
            return [self._evaluations[self._ranking.first()]]
        order = self._order
        if len(order) < len(self._evaluations):
            order = self._order = self._ranking.order().tolist()
        return [self._evaluations[index] for index in order[:count]]
