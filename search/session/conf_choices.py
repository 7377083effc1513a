"""What a journal records, as a person types it: the names of conf/, and what was changed of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from models.settings import HUB
from search.conf_files import CONF
from search.journal.events import SearchOpened
from search.overrides import Overrides
from search.settings.groups import SHARED

GROUPS = ("dataset", "backbone")
NAMED = ("algorithm", "scheduler", "dataset")
"""Groups that a page speaks of by their choice."""
FOLLOW = ("pad_type", "mean", "std")
"""From the weights, unless these are a file, which may not tell them."""


def by_choice(opened: SearchOpened) -> SearchOpened:
    """What was opened with near_best in place of NearBest: for people, who find the former in conf/."""
    fingerprint, settings = (_renamed(given) for given in (opened.fingerprint, opened.settings))
    return replace(opened, fingerprint=fingerprint, settings=settings)


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    renamed = dict(given)
    for group in NAMED:
        recorded = given.get(group)
        if isinstance(recorded, Mapping) and (choice := _choice(group, recorded)):
            renamed[group] = {**recorded, "kind": choice.stem}
    return renamed


def retrain_best(given: Sequence[str], opened: SearchOpened, name: str) -> list[str]:
    """The command that trains the best cell of the search ``name``; ``given`` as in ``shared_arguments``."""
    return ["retrain", *shared_arguments(given, opened), f"from={name}", "rank=1"]


def shared_arguments(given: Sequence[str], opened: SearchOpened) -> list[str]:
    """The settings that a later command needs as the search had them.

    Args:
        given: what was said on the command line; it stands, and the journal adds what it does not choose: the search's own
            arguments, where it has them, else the data set and backbone that it records; and its conf folder.
    """
    known = {**opened.fingerprint, **opened.settings}
    arguments = tuple(known.get("arguments") or ())
    given = [*(text for text in arguments if text.startswith("--") and text not in given), *given]
    is_chosen = any(text.startswith("experiment=") for text in given)
    said = {text.partition("=")[0] for text in given}
    of_search = Overrides(arguments).of(*(group for group in SHARED if group != "output_dir"))
    own = [text for text in of_search if text.partition("=")[0] not in said]
    if own and not any(text.split("=")[0] in GROUPS for text in given) and not is_chosen:
        return [*given, *own]
    missing = [group for group in GROUPS if not is_chosen and not any(text.startswith(f"{group}=") for text in given)]
    return [*given, *(text for group in missing for text in _chosen(group, known.get(group)))]


def _chosen(group: str, recorded: Any) -> Iterator[str]:
    """The choice of conf/ that a recorded value was made with, and what of it differed; nothing if it is not there."""
    if not isinstance(recorded, Mapping):
        return
    choice = _choice(group, recorded)
    if choice is None:
        return
    yield f"{group}={choice.stem}"
    settings = _settings(choice)
    for key, value in recorded.items():
        follows = key in FOLLOW and recorded.get("weights") in (None, HUB)
        if key in settings and settings[key] != value and not follows:
            yield f"{group}.{key}={_written(value)}"


def _choice(group: str, recorded: Mapping[str, Any]) -> Path | None:
    """The file of conf/ of the same kind: of several, the one with the most settings as they were recorded."""
    made = [path for path in sorted((CONF / group).glob("*.yaml")) if _is_made(path, recorded)]
    return max(made, key=lambda path: sum(recorded.get(key) == value for key, value in _settings(path).items()), default=None)


def _is_made(choice: Path, recorded: Mapping[str, Any]) -> bool:
    settings = _settings(choice)
    same_kind = str(settings.get("_target_", "")).rpartition(".")[2] == str(recorded.get("kind", "")).rpartition(".")[2]
    named = "kind" not in recorded or same_kind
    return named and settings.get("name") == recorded.get("name")


@cache
def _settings(choice: Path) -> dict[str, Any]:
    """Of one file of conf/, and of the file beside it that it begins with."""
    own = yaml.safe_load(choice.read_text(encoding="utf-8")) or {}
    parents = [name for name in own.pop("defaults", []) if name != "_self_"]
    return {key: value for name in parents for key, value in _settings(choice.with_name(f"{name}.yaml")).items()} | own


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value).replace(" ", "") if isinstance(value, list | dict) else str(value)
