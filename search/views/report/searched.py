"""What was searched, in words: read from the opening line of a journal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.deciding.space import CellSpace
from search.journal.events import SearchOpened
from search.journal.fingerprints import flat
from search.journal.recorded import Recorded, kind_of


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what was searched."""

    label: str
    text: str


def searched(opened: SearchOpened, accepted: Mapping[str, tuple[str, str]]) -> list[Fact]:
    """What decided about a search's cells and scores. What its journal does not say is left out.

    Args:
        accepted: digests of code that were changed on the way, of no consequence as a person said: from what to what.
    """
    recorded = Recorded(opened)
    known, shape = recorded.known, recorded.features
    splits = {name: part for name, part in known.get("features", {}).items() if isinstance(part, Mapping)}
    values = {
        "Space": known.get("space"),
        "Size": _size(recorded.space),
        "Data": known.get("dataset"),
        "Content of its splits": {name: part["dataset"]["content"] for name, part in splits.items()},
        "Backbone": known.get("backbone"),
        "Its weights": next((part["backbone"]["weights"] for part in splits.values()), None),
        "Features": f"{shape.channels} channels of {shape.height} x {shape.width}" if shape else None,
        "Proxy task": known.get("proxy"),
        "Algorithm": known.get("algorithm"),
        "Prior cell": known.get("prior"),
        "Early stopping": known.get("scheduler"),
        "Budget of a cell": known.get("budget"),
        "Latency table": known.get("latency"),
        "Seed": known.get("seed"),
        "Deterministic": known.get("deterministic"),
        "Code that scores": known.get("scoring_code"),
        "Code that proposes": known.get("search_code"),
        "Changes of code that were accepted": [f"{code} from {was} to {now}" for code, (was, now) in accepted.items()],
    }
    return [Fact(label, in_words(value)) for label, value in values.items() if value not in (None, {}, [])]


def _size(space: CellSpace | None) -> str | None:
    return f"{space.size:,} encodings, {space.num_distinct:,} different cells" if space else None


def scope(opened: SearchOpened) -> str:
    """The search in a few words: how, in how large a space, on what."""
    known, space = Recorded(opened).known, Recorded(opened).space
    algorithm, scheduler, dataset = (_parts(known.get(key, {}))[0] for key in ("algorithm", "scheduler", "dataset"))
    cells = f"{space.num_distinct:,} different cells" if space else ""
    backbone = known.get("backbone", {}).get("name", "")
    return ", ".join(filter(None, [algorithm, scheduler, cells, dataset, f"backbone {backbone}" if backbone else ""]))


def in_words(value: Any) -> str:
    """Plain settings on one line; a target is there by its name."""
    if isinstance(value, Mapping):
        kind, inner = _parts(value)
        return f"{kind}: {inner}" if kind and inner else kind or inner
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(in_words, value))
    return {"None": "none", "True": "yes", "False": "no"}.get(str(value), str(value))


def fingerprint_lines(settings: Mapping[str, Any]) -> Iterator[str]:
    """Every value on a line of its own with its path, as a refused resume names it."""
    return (f"{path} = {json.dumps(value)}" for path, value in flat(settings))


def _parts(settings: Mapping[str, Any]) -> tuple[str, str]:
    inner = "; ".join(f"{key} {_nested(value)}".rstrip() for key, value in settings.items() if key != "kind")
    return kind_of(settings) or "", inner


def _nested(value: Any) -> str:
    if not isinstance(value, Mapping):
        return in_words(value)
    kind, inner = _parts(value)
    return f"{kind} ({inner})".lstrip() if inner else kind
