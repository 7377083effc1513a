"""What ends a trial before its full budget, as values; ``search.tuning`` turns them into Ray Tune's schedulers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving (Li et al. 2020): at a rung, only the best 1 / ``reduction_factor`` go on.

    Attributes:
        grace_iterations: nothing is stopped before this many training iterations.
        reduction_factor: above 1.
    """

    grace_iterations: int
    reduction_factor: float = 2.0

    def __post_init__(self) -> None:
        if self.grace_iterations < 1:
            raise ValueError(f"scheduler.grace_iterations must be at least 1, got {self.grace_iterations}.")
        if self.reduction_factor <= 1:
            raise ValueError(f"scheduler.reduction_factor must be above 1, got {self.reduction_factor}.")


@dataclass(frozen=True)
class Hyperband:
    """Synchronous Hyperband (Li et al. 2018), counted in rungs; trials wait at a rung until their bracket is full."""

    reduction_factor: float = 2.0

    def __post_init__(self) -> None:
        if self.reduction_factor <= 1:
            raise ValueError(f"scheduler.reduction_factor must be above 1, got {self.reduction_factor}.")


@dataclass(frozen=True)
class MedianStopping:
    """Ends a trial whose best mIoU so far is below the median of the others' means at that iteration (Golovin et al. 2017).

    Attributes:
        grace_iterations: nothing is stopped before this many training iterations.
        min_trials: nor before this many others have got as far.
    """

    grace_iterations: int
    min_trials: int = 3

    def __post_init__(self) -> None:
        if self.grace_iterations < 1:
            raise ValueError(f"scheduler.grace_iterations must be at least 1, got {self.grace_iterations}.")
        if self.min_trials < 1:
            raise ValueError(f"scheduler.min_trials must be at least 1, got {self.min_trials}.")


@dataclass(frozen=True)
class NoStopping:
    """Every trial runs its full budget."""


Scheduler = Asha | Hyperband | MedianStopping | NoStopping
