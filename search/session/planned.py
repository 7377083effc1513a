"""A study that was described in Python: what it is begun with, and where it lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from data.system.paths import absolute
from models.cost import FeatureShape
from models.latency import LatencyTable, cost_with
from models.spec import CellSpec
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.prior import NearPrior, Prior
from search.deciding.budget import Budget, check_latency
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha, Scheduler
from search.deciding.space import CellSpace
from search.journal.events import SearchOpened, now_s
from search.session.beginning import Beginning
from search.session.code_version import search_code
from search.session.described import described, described_settings
from search.settings.groups import AcceptedCode, Count, Seed, read_trusted
from search.settings.places import check_name
from search.tracking.settings import Tracking
from search.typed_values import typed


def planned(
    *,
    space: CellSpace,
    rungs: Sequence[int],
    trials: int,
    name: str,
    algorithm: Algorithm | None,
    scheduler: Scheduler | None,
    first: Sequence[CellSpec | str | Path],
    prior: Prior | None,
    budget: Budget | None,
    features: FeatureShape,
    filters: int,
    latency: str | Path | None,
    seed: int,
    window: int | None,
    settings: Mapping[str, Any],
    scored_by: Mapping[str, Any],
    accept: Sequence[str],
) -> Beginning:
    """The arguments of ``dpc.search`` and ``dpc.study`` as what a study is begun with.

    Args:
        scored_by: what is known of who scores its cells.

    Raises:
        UserError: one of them is wrong.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise UserError(f"name: {error}") from error
    rungs = ascending(rungs)
    trials, filters, seed = typed(trials, Count, "trials"), typed(filters, Count, "filters"), typed(seed, Seed, "seed")
    window, accept = typed(window, Count | None, "window"), typed(accept, AcceptedCode, "accept")
    check_kinds(
        space=(space, CellSpace),
        algorithm=(algorithm, Algorithm),
        scheduler=(scheduler, Scheduler),
        prior=(prior, Prior),
        budget=(budget, Budget),
        features=(features, FeatureShape),
    )
    if isinstance(first, str | Path | CellSpec):
        raise UserError(f"first: give a list of cells, such as [{first!r}].")
    cells = [one if isinstance(one, CellSpec) else read_trusted(str(one), space, "first") for one in first]
    algorithm = algorithm or NearBest()
    if prior:
        prior.check(space)
    table = LatencyTable.read(absolute(latency, "latency")) if latency else None
    if table:
        table.check_maps(features, filters)
    cost_of, budget = cost_with(table, features, filters), budget or Budget()
    check_latency(budget, algorithm, cost_of, space)
    plan = Plan(
        space,
        NearPrior(algorithm, prior) if prior else algorithm,
        scheduler or Asha(),
        tuple(rungs),
        trials,
        seed,
        cost_of=cost_of,
        budget=budget,
        window=window,
        first=cells,
    )
    plan.check_costs()
    decided = {"space": space, "algorithm": algorithm, "scheduler": plan.scheduler, "budget": plan.budget}
    fingerprint = {
        **{key: described(value) for key, value in decided.items()},
        "proxy": {"rungs": list(rungs), "cell": {"filters": filters}},
        "features": {"shape": [features.channels, features.height, features.width]},
        "seed": seed,
        "deterministic": window is not None,
        "window": window,
        "first": [cell.digest for cell in cells],
        **({"prior": prior.recorded} if prior else {}),
        **({"latency": table.recorded} if table else {}),
        "settings": described_settings(settings),
        **scored_by,
        "search_code": search_code(plan),
    }
    opened = SearchOpened(name, fingerprint, {**fingerprint, "trials": trials}, now_s())
    return Beginning(plan=plan, opened=opened, cure="another name", accept=accept)


def ascending(rungs: Sequence[int]) -> list[int]:
    """Rungs that cells can be scored at.

    Raises:
        UserError: they are none.
    """
    numbers: list[int] = typed(rungs, list[int], "rungs")
    if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 1:
        raise UserError(f"rungs must be ascending whole numbers of at least 1, got {numbers}.")
    return numbers


def check_kinds(**given: tuple[object, type]) -> None:
    """Refuse what is of another kind: a class where an object is meant, or a name.

    Raises:
        UserError: an argument is.
    """
    for name, (value, kind) in given.items():
        if value is not None and (isinstance(value, type) or not isinstance(value, kind)):
            what = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
            raise UserError(f"{name}: give a dpc.{kind.__name__}, such as dpc.{_SUCH_AS[kind]}, got {what}.")


_SUCH_AS = {
    CellSpace: 'CellSpace(3, {"conv": dpc.PointwiseConvs()})',
    Algorithm: "NearBest()",
    Scheduler: "Asha()",
    Prior: "Prior(cell)",
    Budget: "Budget(params=1e6)",
    FeatureShape: "FeatureShape(320, 49, 49)",
    Tracking: 'Tracking("http://host:5000")',
}
