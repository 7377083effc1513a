"""What is done about trials whose process dies, hangs, or runs out of disk."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaultTolerance:
    """Such a trial starts again from its last checkpoint, elsewhere if need be; the cell is not to blame.

    Attributes:
        retries: how often, before the trial counts as failed.
        rung_timeout_s: the longest time from one score to the next before a process counts as hung and is ended; None
            waits for ever.
        give_up_after: trials that fail alike, one after the other, until a search begins no more of them: storage that is not
            mounted, a broken driver. None never gives up.
        kernels: whether trials use this project's kernels where they have a GPU. A trial that meets a device error with them is
            tried again with torch's own operators, before the GPU is suspected.
    """

    retries: int = 2
    rung_timeout_s: float | None = 7200.0
    give_up_after: int | None = 10
    kernels: bool = True

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"faults.retries must be at least 0, got {self.retries}.")
        if self.give_up_after is not None and self.give_up_after < 1:
            raise ValueError(f"faults.give_up_after must be at least 1, or null to never give up, got {self.give_up_after}.")
        if self.rung_timeout_s is not None and self.rung_timeout_s <= 0:
            raise ValueError(f"faults.rung_timeout_s must be above 0, or null to wait for ever, got {self.rung_timeout_s:g}.")
