"""Cells that were chosen beforehand, such as a search's best."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from data.system.errors import UserError
from data.system.json_file import read_json
from models.spec import CellError, CellSpec
from search.deciding.algorithms.base import SpaceExhaustedError
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace


@dataclass(frozen=True)
class Listed:
    """Proposes ``cells`` in their order. A search ends with them: no sample of the space follows."""

    cells: tuple[CellSpec, ...]

    @property
    def attempts(self) -> int:
        """Proposals in a row that may be known or over the budget: all, and its end."""
        return len(self.cells) + 1

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        known = finished.digests | {cell.digest for cell in pending}
        yield from (cell for cell in self.cells if cell.digest not in known)
        raise SpaceExhaustedError(f"all {len(self.cells)} listed cells have been proposed, or are over the budget")


def listed_in(file: Path) -> Listed:
    """The cells of a JSON file: a list of cells, each as ``CellSpec.to_json`` writes it.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        entries = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"algorithm.file: {file} cannot be read as JSON ({error}).") from error
    if not isinstance(entries, list) or not entries:
        raise UserError(f"algorithm.file: {file} must hold a list of cells.")
    try:
        return Listed(tuple(map(CellSpec.from_json, entries)))
    except CellError as error:
        raise CellError(f"algorithm.file: {file}: {error}") from error
