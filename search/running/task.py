"""What a trial runs: a task that scores one cell."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.spec import CellSpec
from training.score import RungScore

CellTask = Callable[[CellSpec, int, Path | None], Iterator[RungScore]]
"""Scores a cell at each rung, given its training seed and a checkpoint file; ``training.proxy.ProxyTask`` is one."""


class NodeDrainingError(OSError):
    """Raised within a task that has told a score, where the node that it runs on is about to go."""


@dataclass(frozen=True)
class PreparedTask:
    """Scores a cell once its node has what ``task`` needs: nodes may join after the cluster was checked.

    Attributes:
        steps: each sees to a part of it, or raises an OSError or a CacheError: then the trial is tried again, elsewhere if it
            can be, and the cell is not to blame.
    """

    task: CellTask
    steps: Sequence[Callable[[], None]]

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """As ``task``; raises what a step does."""
        for step in self.steps:
            step()
        yield from self.task(cell, seed, checkpoint)
