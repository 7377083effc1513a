"""Values as plain JSON: what a journal tells of spaces, algorithms and objectives that were made in Python."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.system.errors import UserError


def described(value: object) -> Any:
    """What decides what ``value`` does.

    A dataclass is there as its ``kind`` and fields, as a node of conf/ with a ``_target_`` is in a command's journal; another
    object as its kind and attributes, a method with its object, a function with what it has taken from around it. What
    these hold is there if it is data or a dataclass, else as its kind alone: a logger holds the whole world.
    """
    return _data(value, _object)


def described_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Data that somebody says scores depend on.

    Raises:
        UserError: a value is none, so that another one could not be told from it.
    """
    return {name: _data(value, partial(_refuse, name)) for name, value in settings.items()}


def _data(value: object, other: Callable[[object], Any]) -> Any:
    """Data and dataclasses as JSON, with ``other`` of what they hold that is neither."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _data(inner, other) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_data(inner, other) for inner in value]
    if isinstance(value, AbstractSet):
        return sorted((_data(inner, other) for inner in value), key=repr)
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": _name(type(value)), **{part.name: _data(getattr(value, part.name), other) for part in fields(value)}}
    return other(value)


def _object(value: object) -> dict[str, Any]:
    if isinstance(value, partial):
        return _call(value, _object)
    if inspect.ismethod(value):
        return {**_by_kind(value), "of": _data(value.__self__, _object)}
    if inspect.isfunction(value):
        taken = inspect.getclosurevars(value).nonlocals
        return {**_by_kind(value), **({"with": _data(taken, _by_kind)} if taken else {})}
    attributes = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    return {**_by_kind(value), **{name: _data(inner, _by_kind) for name, inner in attributes.items()}}


def _by_kind(value: object) -> dict[str, Any]:
    if isinstance(value, partial):
        return _call(value, _by_kind)
    return {"kind": _name(value if hasattr(value, "__qualname__") else type(value))}


def _call(value: "partial[Any]", other: Callable[[object], Any]) -> dict[str, Any]:
    return {"kind": _name(value.func), "args": _data(value.args, other), **_data(value.keywords, other)}


def _refuse(name: str, value: object) -> Any:
    odd = _name(type(value))
    raise UserError(f"settings.{name}: {odd} cannot be told from another; give text, numbers, or a dataclass.")


def _name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
