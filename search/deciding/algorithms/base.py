"""What an algorithm is, and how its proposals become new cells.

An algorithm has no state: what it proposes is a function of the space, the finished evaluations, the pending cells and
``rng``. Resuming a search is therefore replaying its journal.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from random import Random
from typing import Protocol, runtime_checkable

from models.spec import CellSpec
from search.deciding.outcomes import Finished
from search.deciding.space import CellSpace

LAG = 8
"""Trials, for each that is under way, that overtake one until no algorithm waits for it any longer.

One that trains through takes about as long as so many that are stopped at their first rungs.
"""
ATTEMPTS = 50
"""Proposals of known or refused cells in a row before uniform samples fill in."""
SAMPLES = 20_000
"""Uniform samples without a new, allowed cell, and about as many mutants of known cells, until a large space is exhausted."""
SAMPLES_FIRST = 1_000
"""Uniform samples until the two are drawn in turn: a budget that so many miss may be too tight for samples alone."""
ENUMERABLE = 100_000
"""Encodings up to which a space is listed to find the cells that sampling missed."""


class SpaceExhaustedError(Exception):
    """Nothing new is left to propose: the space is used up, or sampling found no cell that is new and allowed."""


@runtime_checkable
class Algorithm(Protocol):
    """Chooses the next cell to evaluate. A frozen dataclass of plain values, so that its settings are JSON.

    Nothing else is read of it, whatever its fields are called, but one member that it may have: ``attempts: int``, of one whose
    cells end, is how many in a row may be known or refused until uniform samples fill in; of others that is ``ATTEMPTS``.
    """

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        """Cells of ``space`` without end. The first that is neither known nor over the budget is evaluated.

        What is learnt from ``finished`` is learnt once, before the first of them.

        Args:
            finished: ended trials in order of their numbers; their cells are of ``space``.
            pending: cells that are being evaluated.
            rng: the only source of randomness.
        """
        ...


def propose_new(
    algorithm: Algorithm,
    space: CellSpace,
    finished: Finished,
    pending: Sequence[CellSpec],
    known: AbstractSet[str],
    seed: int,
    allows: Callable[[CellSpec], bool] = lambda cell: True,
) -> CellSpec:
    """The algorithm's next cell that is new and allowed, in canonical form.

    Args:
        known: digests of every cell proposed so far.
        seed: of this proposal, from ``proposal_seed``.
        allows: whether a cell may be trained at all.

    Raises:
        SpaceExhaustedError: there is no such cell, or it was not found.
    """
    if len(known) >= space.num_distinct:
        raise SpaceExhaustedError(f"all {space.num_distinct:,} different cells of the space have been proposed")
    rng = Random(seed)
    for proposed in islice(algorithm.propose(space, finished, pending, rng), _attempts(algorithm)):
        cell = proposed.canonical()
        if cell.digest not in known and allows(cell):
            return cell
    if space.size <= ENUMERABLE:
        left = [cell for cell in space.members if cell.digest not in known and allows(cell)]
        if not left:
            raise SpaceExhaustedError(f"all {len(known):,} cells of the space that are within the budget have been proposed")
        return rng.choice(left)
    there = [*(evaluation.cell for evaluation in finished), *pending]
    for number in range(2 * SAMPLES if there else SAMPLES):
        mutates = there and number >= SAMPLES_FIRST and number % 2
        cell = (space.mutate(rng.choice(there), rng) if mutates else space.sample(rng)).canonical()
        if cell.digest not in known and allows(cell):
            return cell
    mutants = ", and mutants of known cells in turn," if there else ""
    raise SpaceExhaustedError(f"{SAMPLES:,} samples in a row{mutants} were known or over the budget")


def _attempts(algorithm: Algorithm) -> int:
    attempts = getattr(algorithm, "attempts", None)
    return attempts if type(attempts) is int and attempts > 0 else ATTEMPTS


def proposal_seed(search_seed: int, trial: int) -> int:
    """The seed of proposal ``trial``: it depends on nothing that timing could change."""
    return _hash_seed(f"propose {search_seed} {trial}")


def training_seed(search_seed: int, cell: CellSpec) -> int:
    """The seed of a cell's training: the same whichever trial, worker or moment trains it."""
    return _hash_seed(f"train {search_seed} {cell.digest}")


def repeat_seed(search_seed: int, cell: CellSpec) -> int:
    """The seed of the training that scores a cell again."""
    return _hash_seed(f"train again {search_seed} {cell.digest}")


def _hash_seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
