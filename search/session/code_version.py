"""Which code a search ran: digests of the source that decides scores, and of the source that decides proposals."""

from importlib.metadata import version
from pathlib import Path

from training.source_code import source_digest

ROOT = Path(__file__).resolve().parents[2]
PROPOSING_PACKAGES = ("optuna", "scikit-learn")
"""Their models propose cells: those of another version may propose others."""


def scoring_code(*scoring: object) -> str:
    """Of what scores a cell and all that it imports.

    Args:
        scoring: a task, and the data set, operators and other things that it uses; or their classes.
    """
    kinds = [thing if isinstance(thing, type) else type(thing) for thing in scoring]
    return source_digest(*sorted({kind.__module__ for kind in kinds}))


def search_code() -> str:
    """Of what is tried next and who goes on: all of the floor ``search/deciding``, and what it imports."""
    files = sorted((ROOT / "search" / "deciding").rglob("*.py"))
    modules = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return "-".join([source_digest(*modules), *(version(name) for name in PROPOSING_PACKAGES)])
