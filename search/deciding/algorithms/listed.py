"""Cells that were chosen beforehand, such as a search's best."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from models.spec import CellSpec
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace


@dataclass(frozen=True)
class Listed:
    """Proposes ``cells`` in their order, and none beyond them."""

    cells: tuple[CellSpec, ...]

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        known = finished.digests | {cell.digest for cell in pending}
        yield from (cell for cell in self.cells if cell.digest not in known)
