"""Cells that were chosen beforehand, such as a search's best."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from models.spec import CellSpec
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace


@dataclass(frozen=True)
class Listed:
    """Proposes ``cells`` in their order."""

    cells: tuple[CellSpec, ...]

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> CellSpec:
        """The first that is neither finished nor pending; the last one when all are."""
        known = finished.digests | {cell.digest for cell in pending}
        return next((cell for cell in self.cells if cell.digest not in known), self.cells[-1])
