"""The settings that a journal's first line holds: one by one, and what differs between those of two searches."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.settings import WITHOUT_EFFECT

_AS_BEFORE = (("optimizer.bias_rate", 1.0),)
"""Settings of a training that are younger than some journals, with the value that is as it was before there were any."""


def flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path: ``{"space": {"num_branches": 5}}`` is ``space.num_branches``, 5."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


CODE = ("scoring_code", "search_code")
"""Digests in a fingerprint: that one differs does not say whether a result does."""


def accepted(old: Mapping[str, Any], new: Mapping[str, Any], accept: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The digests named in ``accept`` that differ between two fingerprints: old and new, by name."""
    return {code: (str(old.get(code)), str(new.get(code))) for code in accept if old.get(code) != new.get(code)}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 4) -> str:
    """What differs between two trees of settings, for a message; empty if nothing that could change a result does.

    A tuple is the list that it became when it was written down.
    """
    was, now = (that_decide(json.loads(json.dumps(tree, default=str))) for tree in (old, new))
    changed = sorted(
        (key for key in was.keys() | now.keys() if was.get(key) != now.get(key)),
        key=lambda key: (not key.endswith(".kind"), key),
    )
    named = [f"{key} was {was.get(key)} and is {now.get(key)}" for key in changed[:most]]
    return ", ".join([*named, *([f"and {len(changed) - most} more"] if len(changed) > most else [])])


def that_decide(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values by their paths, without those that change no result."""
    values = {path: value for path, value in flat(settings) if (path.partition(".")[2], value) not in _AS_BEFORE}
    for path in ("proxy.eval_batch_size", *(f"training.{name}" for name in WITHOUT_EFFECT)):
        values.pop(path, None)
    if "weights" in values:  # their digest: it does not count where they lie
        values.pop("backbone.weights", None)
    if not values.get("deterministic"):
        values.pop("window", None)
    return values
