"""What ends a trial before its full budget. Pure: a decision follows from scores at equal rungs alone, and says why.

The rules are those of Ray Tune's schedulers of the same names; as functions they can be journalled, replayed and simulated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from statistics import fmean, median
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a trial continues after a rung, and why."""

    goes_on: bool
    reason: str


@runtime_checkable
class Scheduler(Protocol):
    """Decides at each rung but the last whether a trial continues."""

    def bracket(self, trial: int) -> int:
        """The group of trials that ``trial`` is compared within."""
        ...

    def standing(self, iterations: Sequence[int], mious: Sequence[float]) -> float:
        """What the other trials are compared with once this trial has these scores, one per rung."""
        ...

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float], peers: Sequence[float]) -> Decision:
        """Whether a trial with these scores continues.

        Args:
            iterations: at which the trial was scored so far, one per rung.
            mious: its scores there.
            peers: standings of the bracket's other trials at this rung, ascending.
        """
        ...


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving (Li et al. 2020): at a rung, only the best 1 / ``reduction_factor`` go on.

    Attributes:
        grace_iterations: nothing is stopped before this many training iterations; None: before the first rung.
        reduction_factor: above 1.
        brackets: with more than one it is asynchronous Hyperband: trials take turns in brackets, each of which waits
            ``reduction_factor`` times as long as the one before until it stops anything.
    """

    grace_iterations: int | None = None
    reduction_factor: float = 2.0
    brackets: int = 1

    def __post_init__(self) -> None:
        _check_at_least_1(self, "grace_iterations", "brackets")
        if self.reduction_factor <= 1:
            raise ValueError(f"scheduler.reduction_factor must be above 1, got {self.reduction_factor}.")

    def bracket(self, trial: int) -> int:
        return trial % self.brackets

    def standing(self, iterations: Sequence[int], mious: Sequence[float]) -> float:
        return mious[-1]

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float], peers: Sequence[float]) -> Decision:
        grace_iterations = self.grace_iterations or iterations[0]
        if iterations[-1] < grace_iterations * self.reduction_factor ** self.bracket(trial):
            return Decision(True, "in its grace period")
        if not peers:
            return Decision(True, "the first at this rung")
        cutoff = _quantile(peers, 1 - 1 / self.reduction_factor)
        return _compare(mious[-1], cutoff, f"the cutoff of the best 1/{self.reduction_factor:g} of {len(peers)}")


@dataclass(frozen=True)
class MedianStopping:
    """Ends a trial whose best mIoU so far is below the median of the others' means up to that rung (Golovin et al. 2017).

    Attributes:
        grace_iterations: scores before this many training iterations do not count, and nothing is stopped there; None: those
            before the first rung.
        min_trials: nothing is stopped before this many others have got as far.
    """

    grace_iterations: int | None = None
    min_trials: int = 3

    def __post_init__(self) -> None:
        _check_at_least_1(self, "grace_iterations", "min_trials")

    def bracket(self, trial: int) -> int:
        return 0

    def standing(self, iterations: Sequence[int], mious: Sequence[float]) -> float:
        grace_iterations = self.grace_iterations or iterations[0]
        counted = [miou for iteration, miou in zip(iterations, mious, strict=True) if iteration >= grace_iterations]
        return fmean(counted or mious)

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float], peers: Sequence[float]) -> Decision:
        if iterations[-1] < (self.grace_iterations or iterations[0]):
            return Decision(True, "in its grace period")
        if len(peers) < self.min_trials:
            return Decision(True, f"only {len(peers)} others got to this rung")
        return _compare(max(mious), median(peers), f"the median of {len(peers)}")


@dataclass(frozen=True)
class NoStopping:
    """Every trial runs its full budget."""

    def bracket(self, trial: int) -> int:
        return 0

    def standing(self, iterations: Sequence[int], mious: Sequence[float]) -> float:
        return mious[-1]

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float], peers: Sequence[float]) -> Decision:
        return Decision(True, "nothing is stopped")


def _compare(miou: float, threshold: float, what: str) -> Decision:
    goes_on = miou >= threshold
    digits = next((digits for digits in range(4, 17) if f"{miou:.{digits}f}" != f"{threshold:.{digits}f}"), 4)
    return Decision(goes_on, f"{miou:.{digits}f} is {'not ' if goes_on else ''}below {threshold:.{digits}f}, {what}")


def _quantile(ascending: Sequence[float], share: float) -> float:
    """With linear interpolation, as ``numpy.quantile``."""
    position = share * (len(ascending) - 1)
    below = floor(position)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (position - below) * (ascending[above] - ascending[below])


def _check_at_least_1(scheduler: object, *names: str) -> None:
    for name in names:
        value = getattr(scheduler, name)
        if value is not None and value < 1:
            raise ValueError(f"scheduler.{name} must be at least 1, got {value}.")
