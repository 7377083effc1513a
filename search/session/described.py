"""Values as plain JSON: what a journal tells of spaces, algorithms and objectives that were made in Python."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any


def described(value: object) -> Any:
    """A dataclass is there as its ``kind`` and fields, as a node of conf/ with a ``_target_`` is in a command's journal."""
    if isinstance(value, partial):
        return {"kind": _name(value.func), "args": described(value.args), **described(value.keywords)}
    if isinstance(value, type) or not is_dataclass(value):
        return _plain(value)
    given = {part.name: described(getattr(value, part.name)) for part in fields(value)}
    return {"kind": _name(type(value)), **given}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): described(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [described(inner) for inner in value]
    return {"kind": _name(value if hasattr(value, "__qualname__") else type(value))}


def _name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
