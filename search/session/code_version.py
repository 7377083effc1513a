"""Which code a search ran: digests of the source that decides scores, and of the source that decides proposals."""

import hashlib
import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from data.system.errors import UserError
from data.system.project import ROOT
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
    if kind.__module__ != "__main__":
        return source_digest(kind.__module__)
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()[:16]
    except (OSError, TypeError) as error:
        raise UserError(f"objective: its source cannot be read ({error}); define {kind.__qualname__} in a file.") from error


def search_code() -> str:
    """A digest of the source of what proposes and stops cells: of search/deciding/ and what it imports; with versions."""
    files = sorted((ROOT / "search" / "deciding").rglob("*.py"))
    modules = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return "-".join([source_digest(*modules), *(version(name) for name in PROPOSING_PACKAGES)])
