"""What a scored cell says. Pure Python: a worker that waits for its first cell has not loaded torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from data.system.errors import UserError
from models.spec import CellSpec


class DivergedError(ArithmeticError):
    """The loss is no longer a number."""


class FeaturesGoneError(OSError):
    """The process that keeps the features on a GPU for all of its trials has ended."""


class ObjectiveError(UserError):
    """What an objective of one's own gave is no score."""


@runtime_checkable
class Objective(Protocol):
    """A way of one's own to say how good a cell is: any function or object that can be called so.

    Where it has a third parameter ``checkpoint``, it is given the path of a file for the state of an unfinished cell, and
    yields the scores of earlier rungs again where that file exists (``training.proxy.ProxyTask`` is one). Where it has an
    attribute ``features``, a ``FeatureShape``, cells are counted as reading that.
    """

    def __call__(self, cell: CellSpec, seed: int) -> Iterable[Any]:
        """The cell's scores, one per rung, each a number from 0 to 1, more is better; NaN of a training that diverged.

        Give them one by one (``yield``): a cell that is stopped early is not asked for the rest.

        Args:
            seed: of all that is random. The same cell, seed and rung must score alike.
        """
        ...


@dataclass(frozen=True, slots=True)
class RungScore:
    """How a cell stands at a rung.

    Attributes:
        rung: from 1.
        iteration: training iterations done.
        miou: on the whole validation split, 0 to 1.
        loss: mean training loss since the rung before; None where nobody tells it.
        elapsed_s: training and validation so far, across interruptions.
    """

    rung: int
    iteration: int
    miou: float
    loss: float | None
    elapsed_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.miou <= 1:
            raise ValueError(f"RungScore: miou must be from 0 to 1, got {self.miou}.")
        if self.loss is not None and not math.isfinite(self.loss):
            raise ValueError(f"RungScore: loss must be a finite number, got {self.loss}.")


def as_miou(value: Any) -> float:
    """What an objective of one's own says of a cell, which stands where others have a mIoU: from 0 to 1, more is better.

    Raises:
        DivergedError: it is not a number, as that of a training whose loss was none.
        ObjectiveError: it is something else.
    """
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise ObjectiveError(f"objective: a score must be a number from 0 to 1, got {value!r}.") from None
    if math.isnan(score):
        raise DivergedError("the score is not a number")
    if not 0 <= score <= 1:
        cure = "; divide a percentage by 100" if 1 < score <= 100 else ""
        raise ObjectiveError(f"objective: a score must be from 0 to 1, got {score:g}{cure}.")
    return score
