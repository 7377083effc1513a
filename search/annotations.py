"""What annotations say of settings: which setting fills a field, and what the target of a node takes."""

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_origin, get_type_hints

from hydra.utils import get_object

from search.config_errors import ConfigError


@dataclass(frozen=True)
class At:
    """In the annotation of a field: the setting that ``Config.read`` fills it from, where that has another name."""

    key: str


HERE = At("")
"""The same settings as those of the class that has the field."""


def fields_of(kind: type[Any]) -> dict[str, tuple[str, Any]]:
    """By the name of each field of a dataclass: its setting, and its type without ``At``."""
    hints = get_type_hints(kind, include_extras=True)
    return {part.name: _setting_of(part.name, hints[part.name]) for part in fields(kind)}  # type: ignore[arg-type]


def _setting_of(name: str, hint: Any) -> tuple[str, Any]:
    marks = hint.__metadata__ if get_origin(hint) is Annotated else ()
    for at in (mark for mark in marks if isinstance(mark, At)):
        others = tuple(mark for mark in marks if mark is not at)  # Annotated in Annotated is one, with the marks of both
        return at.key, Annotated[(hint.__origin__, *others)] if others else hint.__origin__
    return name, hint


def parameters(target: str, where: str) -> dict[str, Any]:
    """The types of all parameters of ``target``, the path of a class or function; Any where it names none.

    Raises:
        ConfigError: there is no such class or function; the message begins with ``where``, the node that names it.
    """
    try:
        callable_ = get_object(target)
    except Exception as error:  # Hydra raises many kinds for a path that leads nowhere
        raise ConfigError(f"{where}._target_: cannot find {target!r}.") from error
    hints = get_type_hints(callable_.__init__ if inspect.isclass(callable_) else callable_, include_extras=True)
    return {name: hints.get(name, Any) for name in inspect.signature(callable_).parameters}


def required(target: str) -> list[str]:
    """The parameters of ``target`` that have no default, and can be given by name."""
    found = inspect.signature(get_object(target)).parameters.values()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in found if one.default is inspect.Parameter.empty and one.kind in by_name]
