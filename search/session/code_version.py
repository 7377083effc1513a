"""Which code a search ran: digests of the source that decides scores, and of the source that decides proposals."""

import hashlib
import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

from data.system.errors import UserError
from data.system.project import ROOT
from search.deciding.algorithms.prior import NearPrior
from search.deciding.policy import Plan
from training.source_code import source_digest

PROPOSING_PACKAGES = ("optuna", "scikit-learn")
"""Their models propose cells: those of another version may propose others."""


def scoring_code(*scoring: object) -> str:
    """A digest of the source of what scores a cell, and of all that it imports.

    Args:
        scoring: a task, and the data set, operators and other things that it uses; or their classes.
    """
    kinds = [thing if isinstance(thing, type) else type(thing) for thing in scoring]
    return source_digest(*sorted({kind.__module__ for kind in kinds}))


def objective_code(objective: Callable[..., object]) -> str:
    """A digest of an objective of one's own: of its module and what that imports; in a script or notebook, of its own text.

    Raises:
        UserError: its text cannot be read, as of what was typed at a prompt.
    """
    while isinstance(objective, partial):
        objective = objective.func
    kind = objective if inspect.isroutine(objective) or inspect.isclass(objective) else type(objective)
    return source_digest(kind.__module__) if kind.__module__ != "__main__" else _text_digest("objective", kind)


def search_code(plan: Plan) -> str:
    """A digest of the source of what proposes and stops cells, with versions of packages.

    That is of search/deciding/ and what it imports, and of an algorithm, a scheduler and families of operators of one's own, as
    ``objective_code`` has it.

    Raises:
        UserError: the text of one of these cannot be read.
    """
    files = sorted((ROOT / "search" / "deciding").rglob("*.py"))
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}
    algorithm = plan.algorithm.algorithm if isinstance(plan.algorithm, NearPrior) else plan.algorithm
    families = {f"space.operators.{name}": family for name, family in plan.space.operators.items()}
    kinds = {what: type(thing) for what, thing in {"algorithm": algorithm, "scheduler": plan.scheduler, **families}.items()}
    texts = [_text_digest(what, kind) for what, kind in kinds.items() if kind.__module__ == "__main__"]
    modules |= {kind.__module__ for kind in kinds.values()} - {"__main__"}
    return "-".join([source_digest(*sorted(modules)), *texts, *(version(name) for name in PROPOSING_PACKAGES)])


def _text_digest(what: str, kind: Any) -> str:
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()[:16]
    except (OSError, TypeError) as error:
        raise UserError(f"{what}: its source cannot be read ({error}); define {kind.__qualname__} in a file.") from error
