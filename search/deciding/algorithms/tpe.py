"""Tree-structured Parzen estimators, by Optuna."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Self

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from models.spec import BACKBONE, Branch, CellSpec, Operator
from search.deciding.outcomes import Finished, ranked
from search.deciding.space import CellSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Tpe:
    """Optuna's ``TPESampler``: each branch has a categorical parameter for its operator and one for its input.

    Bergstra et al. 2011; multivariate as in Falkner et al. 2018. It is told places in the ranking, which are all that TPE
    makes of scores; running trials count as bad (its constant liar), so that workers spread.

    Attributes:
        num_initial: trials with a score before the model is used.
        num_candidates: samples of the model, of which the best is proposed; the next best where it is refused.
        history: evaluations that the model is made of: the best fifth of them, and the latest. A proposal takes time in
            proportion.
    """

    num_initial: int = 20
    num_candidates: int = 24
    history: int = 200

    def __post_init__(self) -> None:
        for name in ("num_initial", "num_candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"algorithm.{name} must be at least 1, got {getattr(self, name)}.")
        if self.history < 10:
            raise ValueError(f"algorithm.history must be at least 10, got {self.history}.")

    def propose(self, space: CellSpace, finished: Finished, pending: Sequence[CellSpec], rng: Random) -> Iterator[CellSpec]:
        if len(finished.scored) < self.num_initial:
            while True:
                yield space.sample(rng)
        distributions = _distributions(space.num_branches, len(space.choices))
        choices = {operator: index for index, operator in enumerate(space.choices)}
        # Best first, though Optuna takes it for the order of trials: among the bad ones, worse trials weigh more (docs/log.md).
        chosen = ranked(finished.excerpt(self.history))
        trials = [_ended(choices, one.cell, -place, distributions) for place, one in enumerate(chosen)]
        trials += [_running(choices, cell, distributions) for cell in pending]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = _Sampler(
                n_startup_trials=0,
                n_ei_candidates=self.num_candidates,
                multivariate=True,
                constant_liar=True,
                seed=rng.getrandbits(32),
            )
        study = optuna.create_study(sampler=sampler, direction="maximize")
        study.add_trials(trials)
        while True:
            asked = study.ask(dict(distributions)).params
            yield _cell(space, asked)
            for drawn in sampler.others:
                chosen_params = {name: distributions[name].to_external_repr(index) for name, index in drawn.items()}
                yield _cell(space, asked | chosen_params)


class _Sampler(TPESampler):
    """Optuna's, which draws many candidates and asks for the best; the others are kept, for when that one is refused.

    Attributes:
        others: the candidates behind the one that was asked for last, best first, each as indices of choices by parameter.
    """

    others: Sequence[Mapping[str, int]] = ()

    def _compute_acquisition_func(self, samples: dict[str, Any], mpe_below: Any, mpe_above: Any) -> Any:
        values = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        behind = np.argsort(-values, kind="stable")[1:]
        self.others = [{name: int(drawn[index]) for name, drawn in samples.items()} for index in behind]
        return values


class _Index(CategoricalDistribution):
    """One of so many things. Optuna compares and copies distributions choice by choice, for each parameter of each trial."""

    def __init__(self, first: int, stop: int) -> None:
        super().__init__(tuple(range(first, stop)))
        self._bounds = first, stop

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Index) and self._bounds == other._bounds

    def __hash__(self) -> int:
        return hash(self._bounds)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
        return int(param_value_in_external_repr) - self._bounds[0]


@lru_cache(maxsize=4)
def _distributions(num_branches: int, num_operators: int) -> Mapping[str, BaseDistribution]:
    operators = {f"operator_{i}": _Index(0, num_operators) for i in range(num_branches)}
    return operators | {f"input_{i}": _Index(BACKBONE, i) for i in range(num_branches)}


def _params(choices: Mapping[Operator, int], cell: CellSpec) -> dict[str, int]:
    branches = list(enumerate(cell.branches))
    return {f"operator_{i}": choices[branch.operator] for i, branch in branches} | {
        f"input_{i}": branch.input for i, branch in branches
    }


def _cell(space: CellSpace, params: dict[str, int]) -> CellSpec:
    branches = range(space.num_branches)
    return CellSpec(tuple(Branch(params[f"input_{i}"], space.choices[params[f"operator_{i}"]]) for i in branches))


def _ended(
    choices: Mapping[Operator, int], cell: CellSpec, value: float, distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    return create_trial(params=_params(choices, cell), distributions=dict(distributions), value=value)


def _running(choices: Mapping[Operator, int], cell: CellSpec, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, params=_params(choices, cell), distributions=dict(distributions))
