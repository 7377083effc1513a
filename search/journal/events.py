"""What is recorded of a search: each thing that happens to it, as a value."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.spec import CellSpec
from search.deciding.outcomes import Status


@dataclass(frozen=True, slots=True)
class SearchOpened:
    """A process began or resumed the search.

    Attributes:
        fingerprint: all that must not change under one name.
        accepted: digests of code that changed, where a person said that results did not: old and new, by name.
    """

    name: str
    fingerprint: Mapping[str, Any]
    settings: Mapping[str, Any]
    time_s: float
    accepted: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellProposed:
    """The algorithm chose a cell, or one is scored again. Costs are those of ``models.cost``; ``seed`` is its training's.

    Attributes:
        repeats: the earlier trial of the same cell, whose score this one repeats under another seed; None of a new cell.
        latency_ms: by the search's table (``models.latency``); None where it has none.
    """

    trial: int
    cell: CellSpec
    seed: int
    params: int
    madds: int
    time_s: float
    repeats: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RungReached:
    """A trial was validated, and the scheduler decided.

    Attributes:
        rung: from 1.
        loss: mean training loss since the rung before; None where nobody told it.
        elapsed_s: the trial's training and validation so far.
        goes_on: False where the trial ends here: stopped, or done with its full budget.
        reason: why, in words.
    """

    trial: int
    rung: int
    iteration: int
    miou: float
    loss: float | None
    elapsed_s: float
    goes_on: bool
    reason: str
    time_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.miou <= 1:
            raise ValueError(f"miou must be from 0 to 1, got {self.miou}")


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial ended, and why. ``elapsed_s`` is its training and validation time."""

    trial: int
    status: Status
    reason: str
    elapsed_s: float
    time_s: float


@dataclass(frozen=True, slots=True)
class TrialInherited:
    """A finished trial of the search that this one was forked from, under a number of its own.

    Attributes:
        source: that search's name.
        is_comparable: whether its scores were got as this search gets them, within its budget. If not, they guide proposals and
            nothing else.
        params, madds, latency_ms: counted as this search counts.
        rungs: iteration, mIoU, loss and elapsed seconds at each rung.
        comes_first: whether this search scores its cell before any that it proposes itself.
    """

    trial: int
    source: str
    is_comparable: bool
    cell: CellSpec
    seed: int
    params: int
    madds: int
    rungs: Sequence[tuple[int, float, float | None, float]]
    status: Status
    reason: str
    elapsed_s: float
    time_s: float
    comes_first: bool = False
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class TrialsReopened:
    """Trials that had ended continue because a person asked for it. Each keeps number, cell, seed and the rungs it reached.

    Attributes:
        to_full_budget: whether no scheduler stops them any more.
    """

    trials: Sequence[int]
    time_s: float
    to_full_budget: bool = False


@dataclass(frozen=True, slots=True)
class SearchClosed:
    """The search ended on its own terms: every trial done, or nothing left to propose."""

    reason: str
    time_s: float


@dataclass(frozen=True, slots=True)
class DeviceLeftOut:
    """A GPU gets no further trials until the search is resumed: some failed there that went well elsewhere."""

    device: str
    reason: str
    time_s: float


Event = SearchOpened | TrialInherited | CellProposed | RungReached | TrialEnded | TrialsReopened | DeviceLeftOut | SearchClosed
"""Something that happened to a search: one of the kinds that docs/reference/journal.md lists, with their fields."""


def now_s() -> float:
    """Seconds since 1970, to the millisecond: for people who read a journal. Nothing is decided by it."""
    return round(time.time(), 3)
