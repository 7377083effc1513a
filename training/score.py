"""What a scored cell says. Pure Python: a worker that waits for its first cell has not loaded torch."""

import math
from dataclasses import dataclass


class DivergedError(ArithmeticError):
    """The loss is no longer a number."""


@dataclass(frozen=True, slots=True)
class RungScore:
    """How a cell stands at a rung.

    Attributes:
        rung: from 1.
        iteration: training iterations done.
        miou: on the whole validation split, 0 to 1.
        loss: mean training loss since the rung before.
        elapsed_s: training and validation so far, across interruptions.
    """

    rung: int
    iteration: int
    miou: float
    loss: float
    elapsed_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.miou <= 1:
            raise ValueError(f"RungScore: miou must be from 0 to 1, got {self.miou}.")
        if not math.isfinite(self.loss):
            raise ValueError(f"RungScore: loss must be a finite number, got {self.loss}.")
