"""Values as plain JSON: what a journal tells of spaces, algorithms and objectives that were made in Python."""

import inspect
from collections.abc import Mapping, Sequence
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
    these hold is there if it is data or a dataclass, else as its kind alone.
    """
    return _described(value, is_inside=False)


def described_settings(settings: Mapping[str, Any]) -> Any:
    """Data that somebody says scores depend on.

    Raises:
        UserError: a value is none, so that another one could not be told from it.
    """
    for name, value in settings.items():
        if (odd := _no_data(value)) is not None:
            raise UserError(
                f"settings.{name}: {_name(type(odd))} cannot be told from another; give text, numbers, or a dataclass."
            )
    return described(settings)


def _described(value: object, is_inside: bool) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _described(inner, is_inside) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_described(inner, is_inside) for inner in value]
    if isinstance(value, AbstractSet):
        return sorted((_described(inner, is_inside) for inner in value), key=repr)
    return {"kind": _name(_kind(value)), **_parts(value, is_inside)}


def _parts(value: object, is_inside: bool) -> dict[str, Any]:
    """What an object that is no data holds; of one inside another, only of a dataclass: a logger holds the whole world."""
    if isinstance(value, partial):
        return {"args": _described(value.args, is_inside), **_described(value.keywords, is_inside)}
    if isinstance(value, type):
        return {}
    if is_dataclass(value):
        return {part.name: _described(getattr(value, part.name), is_inside) for part in fields(value)}
    if is_inside:
        return {}
    if inspect.ismethod(value):
        return {"of": _described(value.__self__, is_inside)}
    if inspect.isfunction(value):
        taken = inspect.getclosurevars(value).nonlocals
        return {"with": _described(taken, is_inside=True)} if taken else {}
    return {name: _described(inner, is_inside=True) for name, inner in getattr(value, "__dict__", {}).items()}


def _no_data(value: object) -> object | None:
    """The first thing in ``value`` that JSON cannot tell of."""
    if value is None or isinstance(value, str | int | float | np.generic | Path):
        return None
    if isinstance(value, Mapping):
        return next(filter(lambda odd: odd is not None, map(_no_data, value.values())), None)
    if isinstance(value, Sequence | AbstractSet):
        return next(filter(lambda odd: odd is not None, map(_no_data, value)), None)
    if is_dataclass(value) and not isinstance(value, type):
        return _no_data({part.name: getattr(value, part.name) for part in fields(value)})
    return value


def _kind(value: object) -> Any:
    if isinstance(value, partial):
        return value.func
    return value if hasattr(value, "__qualname__") else type(value)


def _name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
