"""What an algorithm is, and how its proposals become new cells.

An algorithm has no state: what it proposes is a function of the space, the finished evaluations, the pending cells and
``rng``. Resuming a search is therefore replaying its journal.
"""

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Protocol, runtime_checkable

from models.spec import CellSpec
from search.evaluation import Evaluation
from search.space import CellSpace

ENUMERABLE = 100_000
"""Encodings up to which a space is listed to find a cell that sampling missed."""


class SpaceExhaustedError(Exception):
    """Nothing new is left to propose: the space is used up, or sampling found only known cells."""


@runtime_checkable
class Algorithm(Protocol):
    """Chooses the next cell to evaluate."""

    def propose(self, space: CellSpace, finished: Sequence[Evaluation], pending: Sequence[CellSpec], rng: Random) -> CellSpec:
        """A cell of ``space``; it may be a known one, which ``propose_new`` asks again for.

        Args:
            finished: ended trials in order of their numbers.
            pending: cells that are being evaluated.
            rng: the only source of randomness.
        """
        ...


def propose_new(
    algorithm: Algorithm,
    space: CellSpace,
    finished: Sequence[Evaluation],
    pending: Sequence[CellSpec],
    known: frozenset[str] | set[str],
    seed: int,
    attempts: int = 200,
) -> CellSpec:
    """The algorithm's next cell that is not known yet, in canonical form.

    Args:
        known: digests of every finished and pending cell.
        seed: of this proposal, from ``proposal_seed``.

    Raises:
        SpaceExhaustedError: the space has no other cell, or ``attempts`` proposals were all known.
    """
    if len(known) >= space.num_distinct:
        raise SpaceExhaustedError(f"all {space.num_distinct:,} different cells of the space have been proposed")
    rng = Random(seed)
    for _ in range(attempts):
        cell = algorithm.propose(space, finished, pending, rng)
        if cell.digest not in known:
            return cell.canonical()
    if space.size <= ENUMERABLE:
        return rng.choice([cell for cell in space.enumerate() if cell.digest not in known])
    raise SpaceExhaustedError(f"{attempts} proposals in a row were cells already tried")


def proposal_seed(search_seed: int, trial: int) -> int:
    """The seed of proposal ``trial``: it depends on nothing that timing could change."""
    return _hash_seed(f"propose {search_seed} {trial}")


def training_seed(search_seed: int, cell: CellSpec) -> int:
    """The seed of a cell's training: the same whichever trial, worker or moment trains it."""
    return _hash_seed(f"train {search_seed} {cell.digest}")


def _hash_seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
