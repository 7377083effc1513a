"""A task for nodes that may have joined after the cluster was checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.spec import CellSpec
from search.running.nodes.shared_folders import SharedPath
from search.running.trial import CellTask
from training.score import RungScore


@dataclass(frozen=True)
class SharedTask:
    """Scores a cell once the node is seen to share what ``task`` needs.

    Where it does not, that is an OSError: Tune tries again, elsewhere if it can, and the cell is not to blame.
    """

    task: CellTask
    paths: tuple[SharedPath, ...]

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """As ``task``.

        Raises:
            SharedFolderError: the node does not see one of ``paths``.
        """
        for path in self.paths:
            path.check()
        yield from self.task(cell, seed, checkpoint)
