"""From the settings of a search to its plan, and what differs between two searches' settings."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from models.cost import FeatureShape, cell_cost
from search.config import Config
from search.deciding.algorithms.base import Algorithm
from search.deciding.budget import Budget
from search.deciding.policy import Plan
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace

DECIDING = ("space", "algorithm", "scheduler", "budget", "proxy", "seed", "deterministic", "window")
"""The settings that decide which cells are proposed, what they score and who goes on."""


def build_plan(config: Config, features: FeatureShape) -> Plan:
    """What is searched, and how, where cells read ``features``."""
    return Plan(
        config.build("space", CellSpace),
        config.build("algorithm", Algorithm),
        config.build("scheduler", Scheduler),
        config.value("proxy.rungs", list[int]),
        config.value("trials", int),
        config.value("seed", int),
        cost_of=partial(cell_cost, features=features, filters=config.value("proxy.cell.filters", int)),
        budget=config.build("budget", Budget),
        window=config.value("window", int) if config.value("deterministic", bool) else None,
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 4) -> str:
    """What differs between two trees of settings, for a message; empty if nothing does."""
    was, now = _flat(old), _flat(new)
    changed = sorted(
        (key for key in was.keys() | now.keys() if was.get(key) != now.get(key)),
        key=lambda key: (not key.endswith(".kind"), key),
    )
    named = [f"{key} was {was.get(key)} and is {now.get(key)}" for key in changed[:most]]
    return ", ".join([*named, *([f"and {len(changed) - most} more"] if len(changed) > most else [])])


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
