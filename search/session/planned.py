"""A study that was described in Python: what it is begun with, and where it lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.system.errors import UserError
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
from search.session.described import described
from search.settings.groups import read_trusted
from search.settings.places import check_name


def planned(
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
    if not rungs or list(rungs) != sorted(set(rungs)) or rungs[0] < 1:
        raise UserError(f"rungs must be ascending whole numbers of at least 1, got {list(rungs)}.")
    cells = [one if isinstance(one, CellSpec) else read_trusted(str(one), space, "first") for one in first]
    algorithm = algorithm or NearBest()
    if prior:
        prior.check(space)
    table = LatencyTable.read(Path(latency)) if latency else None
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
        "settings": described(settings),
        **scored_by,
        "search_code": search_code(),
    }
    opened = SearchOpened(name, fingerprint, {**fingerprint, "trials": trials}, now_s())
    return Beginning(plan, opened, "another name", accept)
