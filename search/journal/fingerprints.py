"""The settings that a journal's first line holds: one by one, and what differs between those of two searches."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path: ``{"space": {"num_branches": 5}}`` is ``space.num_branches``, 5."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def differences(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 4) -> str:
    """What differs between two trees of settings, for a message; empty if nothing does.

    A tuple is the list that it became when it was written down.
    """
    was, now = (dict(flat(json.loads(json.dumps(tree, default=str)))) for tree in (old, new))
    changed = sorted(
        (key for key in was.keys() | now.keys() if was.get(key) != now.get(key)),
        key=lambda key: (not key.endswith(".kind"), key),
    )
    named = [f"{key} was {was.get(key)} and is {now.get(key)}" for key in changed[:most]]
    return ", ".join([*named, *([f"and {len(changed) - most} more"] if len(changed) > most else [])])
