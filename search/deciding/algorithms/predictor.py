"""A learned predictor of scores: the cell that looks best to it is tried next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.spec import BACKBONE, CellSpec
from search.deciding.algorithms.base import LAG
from search.deciding.outcomes import Evaluation, Finished, ranked
from search.deciding.space import CellSpace

if TYPE_CHECKING:  # for the name of a type alone
    from sklearn.tree import DecisionTreeRegressor

ENCODING_SIZE = 512
"""Columns that paths are hashed to."""


@dataclass(frozen=True)
class Predictor:
    """The candidate that looks best, each to one tree of an ensemble, drawn at random.

    After BANANAS (White et al. 2021): a path encoding, an ensemble, independent Thompson sampling, candidates that are
    mutants of the best; with extremely randomised trees (Geurts et al. 2006), which train in a fraction of a second, in the
    place of neural networks.

    Attributes:
        num_initial: trials with a score before the predictor is used; those before are uniform samples.
        refit_every: the predictor learns from this many further trials at a time.
        history: evaluations that it learns from at most: the best fifth of them, and the latest.
        trees: members of the ensemble.
        num_candidates: cells that are compared; half of them mutants of the ``elite`` best, half uniform samples.
    """

    num_initial: int = 20
    refit_every: int = 10
    history: int = 1000
    trees: int = 30
    num_candidates: int = 100
    elite: int = 10

    def __post_init__(self) -> None:
        for name in ("num_initial", "refit_every", "trees", "num_candidates", "elite"):
            if getattr(self, name) < 1:
                raise ValueError(f"algorithm.{name} must be at least 1, got {getattr(self, name)}.")
        if self.history < max(10, self.num_initial):
            raise ValueError(
                f"algorithm.history must be at least 10 and algorithm.num_initial, {self.num_initial}, got {self.history}."
            )

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        # Rounded down: a set that stays the same for many proposals.
        settled = finished.first_awaited(LAG * len(pending)) // self.refit_every * self.refit_every
        learnt = finished.excerpt(self.history, before=settled)
        if len(learnt) >= self.num_initial and space.num_distinct > 1:
            yield from self._candidates(learnt, finished.best(self.elite), space, rng)
        while True:
            yield space.sample(rng)

    def _candidates(
        self, learnt: Sequence[Evaluation], best: Sequence[Evaluation], space: CellSpace, rng: Random
    ) -> Iterator[CellSpec]:
        """Best first, each as a tree of its own sees it."""
        mutants = [space.mutate(rng.choice(best).cell, rng) for _ in range(self.num_candidates // 2)]
        candidates = [*mutants, *(space.sample(rng) for _ in range(self.num_candidates - len(mutants)))]
        ensemble = _fit(tuple(learnt), self.trees)
        encoded = encode_paths(candidates)
        by_tree = np.stack([tree.predict(encoded) for tree in ensemble])
        chosen = by_tree[[rng.randrange(self.trees) for _ in candidates], range(len(candidates))]
        yield from (candidates[index] for index in np.argsort(-chosen, kind="stable"))


@lru_cache(maxsize=4)
def _fit(learnt: tuple[Evaluation, ...], trees: int) -> "Sequence[DecisionTreeRegressor]":
    """Trees that predict an evaluation's place in the ranking, from 1 for the first to 0."""
    from sklearn.ensemble import ExtraTreesRegressor

    order = ranked(learnt)
    shares = [1 - place / len(order) for place in range(len(order))]
    ensemble = ExtraTreesRegressor(trees, bootstrap=True, min_samples_leaf=2, max_features=0.3, random_state=0, n_jobs=1)
    fitted: Sequence[DecisionTreeRegressor] = ensemble.fit(encode_paths([one.cell for one in order]), shares).estimators_
    return fitted


def encode_paths(cells: Sequence[CellSpec]) -> npt.NDArray[np.float32]:
    """One row per cell: how often each path occurs in it, hashed to a fixed number of columns."""
    from sklearn.feature_extraction import FeatureHasher

    hasher = FeatureHasher(ENCODING_SIZE, input_type="string", alternate_sign=False, dtype=np.float32)
    return np.asarray(hasher.transform(map(_paths, cells)).toarray(), dtype=np.float32)


def _paths(cell: CellSpec) -> Iterator[str]:
    """For each branch its operator, and the operators on the way to it from the backbone."""
    path = {BACKBONE: ""}
    for index, branch in enumerate(cell.branches):
        path[index] = f"{path[branch.input]}/{branch.operator}"
        yield str(branch.operator)
        yield path[index]
