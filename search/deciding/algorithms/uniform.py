"""Uniform random search: the baseline that every other algorithm has to beat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from models.spec import CellSpec
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace


@dataclass(frozen=True)
class Uniform:
    """Each proposal is uniform over the space's encodings, whatever was found before."""

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        while True:
            yield space.sample(rng)
