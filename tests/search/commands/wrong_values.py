"""The settings of conf/, and values that a setting cannot have, by its type."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from omegaconf import OmegaConf
from pydantic import BeforeValidator

from search.conf_files import CONF

WORD, LIST, MAPPING = "banana", "[1,2]", "{a:1}"


def wrong_values(kind: Any) -> Iterator[str]:
    """As they are written on a command line: one of each sort that the type rules out. No number of conf/ may be negative."""
    origin = get_origin(kind) or kind
    if origin is Annotated:
        takes_null = any(isinstance(mark, BeforeValidator) for mark in kind.__metadata__)
        yield from (value for value in wrong_values(kind.__origin__) if value != "null" or not takes_null)
    elif origin in (Union, UnionType):
        first = next(part for part in get_args(kind) if part is not NoneType)
        yield from (value for value in wrong_values(first) if value != "null" or NoneType not in get_args(kind))
    elif origin is bool:
        yield from ("null", "often")
    elif origin is Literal:
        yield from ("null", WORD)
    elif origin is int:
        yield from ("null", "nan", "true", "-1", "1.5")
    elif origin is float:
        yield from ("null", WORD, "inf", "-1")
    elif origin in (str, Path):
        yield from ("null", "''", LIST)
    elif origin in (list, tuple, Sequence):
        numbers = ("[]", "[0]", "[nan]", "[true]")
        yield from ("null", WORD, MAPPING, *(numbers if get_args(kind)[0] in (int, float) else ("[null]",)))
    elif origin in (dict, Mapping):
        yield from (WORD, LIST)
    else:
        raise AssertionError(f"what values are wrong of the type {kind}?")


def settings_in_conf() -> set[str]:
    """Every value that a file of conf/ gives, under its whole name."""
    found = set()
    for file in CONF.rglob("*.yaml"):
        group = file.parent.name
        place = "" if file.parent == CONF or group == "experiment" else f"{group}."
        found |= {f"{place}{key}" for key in _leaves(OmegaConf.to_container(OmegaConf.load(file)))}
    return found


def _leaves(node: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        elif key not in ("defaults", "_target_", "_convert_"):
            yield f"{above}{key}"
