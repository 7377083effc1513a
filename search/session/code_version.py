"""Which code a search ran: digests of the source that decides scores, and of the source that decides proposals."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from data.system.project import ROOT
from search.deciding.algorithms.prior import NearPrior
from search.deciding.policy import Plan
from search.session.script_code import MAIN, kind_of, script_code
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
    """A digest of an objective of one's own: of its module and what that imports; in a script or notebook, ``script_code``.

    Raises:
        UserError: its text cannot be read.
    """
    while isinstance(objective, partial):
        objective = objective.func
    kind = kind_of(objective)
    return script_code("objective", kind) if kind.__module__ == MAIN else source_digest(kind.__module__)


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
    texts = [script_code(what, kind) for what, kind in kinds.items() if kind.__module__ == MAIN]
    modules |= {kind.__module__ for kind in kinds.values()} - {MAIN}
    return "-".join([source_digest(*sorted(modules)), *texts, *(version(name) for name in PROPOSING_PACKAGES)])
