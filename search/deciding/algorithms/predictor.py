"""A learned predictor of scores: the cell that looks best to it is tried next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.spec import BACKBONE, CellSpec
from search.deciding.outcomes import Evaluation, Finished, excerpt
from search.deciding.space import CellSpace

if TYPE_CHECKING:  # for the name of a type alone
    from sklearn.tree import DecisionTreeRegressor

ENCODING_SIZE = 512
"""Columns that paths are hashed to."""


@dataclass(frozen=True)
class Predictor:
    """The candidate that one tree of an ensemble, drawn at random, thinks best.

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
        if self.history < 10:
            raise ValueError(f"algorithm.history must be at least 10, got {self.history}.")

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> CellSpec:
        # Trials up to the first that has not ended, rounded down: a set that stays the same for many proposals.
        settled = finished.num_settled // self.refit_every * self.refit_every
        learnt = [evaluation for evaluation in finished.scored if evaluation.trial < settled]
        if len(learnt) < self.num_initial or space.num_distinct == 1:
            return space.sample(rng)
        best = finished.best(self.elite)
        mutants = [space.mutate(rng.choice(best).cell, rng) for _ in range(self.num_candidates // 2)]
        candidates = [*mutants, *(space.sample(rng) for _ in range(self.num_candidates - len(mutants)))]
        ensemble = _fit(tuple(excerpt(learnt, self.history)), self.trees)
        predicted = ensemble[rng.randrange(self.trees)].predict(encode_paths(candidates))
        return candidates[int(predicted.argmax())]


@lru_cache(maxsize=4)
def _fit(learnt: tuple[Evaluation, ...], trees: int) -> "Sequence[DecisionTreeRegressor]":
    """Trees that predict the rank of an evaluation's merit, from 0 to 1."""
    from sklearn.ensemble import ExtraTreesRegressor

    order = sorted(range(len(learnt)), key=lambda index: learnt[index].merit)
    ranks = [0.0] * len(learnt)
    for rank, index in enumerate(order):
        ranks[index] = rank / len(learnt)
    ensemble = ExtraTreesRegressor(trees, bootstrap=True, min_samples_leaf=2, max_features=0.3, random_state=0, n_jobs=1)
    fitted: Sequence[DecisionTreeRegressor] = ensemble.fit(encode_paths([one.cell for one in learnt]), ranks).estimators_
    return fitted


def encode_paths(cells: Sequence[CellSpec]) -> npt.NDArray[np.float32]:
    """One row a cell: how often each path occurs in it, hashed to a fixed number of columns."""
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
