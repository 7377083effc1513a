"""Plain values of settings as the types that take them, checked without trust. pydantic's door."""

from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from data.system.errors import UserError
from data.system.paths import NamesPath, absolute


def typed(value: object, kind: Any, where: str) -> Any:
    """``value`` as a ``kind``; a path is absolute before its kind checks it.

    Raises:
        UserError: it is none; the message begins with ``where``.
    """
    if is_dataclass(kind):
        raise UserError(f"{where}: holds settings, such as {where}.{fields(kind)[0].name}, got {value!r}.")
    try:
        path = absolute_path(value, kind, where) if isinstance(value, str) and value.strip() else None
        found = _adapter(kind).validate_python(path or value)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"{where}.{first['loc'][0]}" if isinstance(value, dict) and first["loc"] else where
        if first["type"] == "value_error":
            raise UserError(f"{place}: {first['ctx']['error']}") from error
        raise UserError(f"{place}: {_rule(first)}, got {first['input']!r}.") from error
    if _counts_a_bool(value, found):
        raise UserError(f"{where}: must be a number, got {str(value).lower()}.")
    if isinstance(found, str | Path) and not str(value).strip():
        raise UserError(f"{where}: must not be empty.")
    if path and _names_folder(kind) and not Path(path).is_dir():
        raise UserError(f"{where}: must be a folder, {path} is {'a file' if Path(path).exists() else 'not there'}.")
    return found


def is_text(kind: Any) -> bool:
    """Whether a kind takes texts or paths, and no numbers."""
    parts = {part for part in (kind, *get_args(kind)) if isinstance(part, type)}
    return (bool(parts & {str, Path}) and not parts & {int, float, bool}) or any(map(is_text, get_args(kind)[:1]))


def absolute_path(value: str, kind: Any, where: str) -> str | None:
    """The absolute path, where a value of this kind is one.

    Raises:
        UserError: it lies in the home of nobody; the message begins with ``where``.
    """
    if kind is Path:
        return str(absolute(value, where))
    for part in getattr(kind, "__metadata__", ()):
        if isinstance(part, NamesPath):
            return None if value in part.words else str(absolute(value, where))
    return next(filter(None, (absolute_path(value, part, where) for part in get_args(kind))), None)


def _names_folder(kind: Any) -> bool:
    return any(isinstance(part, NamesPath) and part.is_folder for part in getattr(kind, "__metadata__", ()))


def _counts_a_bool(value: Any, typed: Any) -> bool:
    """Whether pydantic took true or false for a number, which nobody means."""
    match value, typed:
        case dict(), dict():
            return any(_counts_a_bool(value[key], typed.get(key)) for key in value)
        case list(), list() | tuple():
            return any(map(_counts_a_bool, value, typed))
    return isinstance(value, bool) and isinstance(typed, int | float) and not isinstance(typed, bool)


def _rule(error: ErrorDetails) -> str:
    """What was broken, in the words of our own checks."""
    bounds = error.get("ctx", {})
    match error["type"]:
        case "greater_than":
            return f"must be above {bounds['gt']:g}"
        case "greater_than_equal":
            return f"must be at least {bounds['ge']:g}"
        case "less_than":
            return f"must be below {bounds['lt']:g}"
        case "less_than_equal":
            return f"must be at most {bounds['le']:g}"
        case "literal_error":
            return f"accepted are {bounds['expected'].replace(' or ', ' and ').replace(chr(39), '')}"
        case "list_type" | "sequence_str":
            return "must be a list in brackets"
        case "is_instance_of" if bounds["class"] == "Sequence":
            return "must be a list in brackets"
        case "path_type":
            return "must be a path"
        case "finite_number":
            return "must be a finite number"
        case _:
            return error["msg"].lower()


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """JSON has neither NaN nor infinity, and no setting means one: null is what is not given, or has no bound."""
    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True, allow_inf_nan=False))
