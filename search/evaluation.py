"""What a finished trial tells: the one value that algorithms, leaderboards and studies compare."""

import math
from dataclasses import dataclass
from enum import StrEnum

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
    """

    trial: int
    cell: CellSpec
    status: Status
    rung: int = 0
    miou: float | None = None

    def __post_init__(self) -> None:
        if self.miou is not None and not (math.isfinite(self.miou) and 0 <= self.miou <= 1):
            raise ValueError(f"Evaluation: miou must be from 0 to 1 or None, got {self.miou}.")
        if self.miou is not None and self.status in (Status.DIVERGED, Status.FAILED):
            raise ValueError(f"Evaluation: a {self.status} trial has no score, got miou {self.miou}.")

    @property
    def merit(self) -> tuple[float, ...]:
        """Sorts evaluations from worst to best: first the rung, then mIoU; no score comes last."""
        return (self.rung, self.miou) if self.miou is not None else (-1, 0.0)
