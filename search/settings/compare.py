"""What ``dpc compare`` is told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.config import Config
from search.config_errors import ConfigError
from search.deciding.space import CellSpace
from search.journal.fingerprints import differences, that_decide
from search.journal.folder import LoadedSearch, open_search
from search.journal.fork import SCORING
from search.settings.groups import DECIDED
from search.settings.places import FolderName, OutputFolder

WAY = tuple(key for key in DECIDED if key not in (*SCORING, "seed"))
"""Settings that make one way to search: all that decide but what a score means, and the seed."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Searches that are one experiment.

    Attributes:
        ways: the searches of each way to search in the order of their seeds, by its algorithm and scheduler; a second way with
            the same ones is named after its first search.
        label: of the folder for what is written.
    """

    ways: Mapping[tuple[str, str], Sequence[LoadedSearch]]
    label: FolderName
    output_dir: OutputFolder

    @property
    def folder(self) -> Path:
        return self.output_dir / self.label


def read(config: Config) -> CompareSettings:
    """The settings of ``dpc compare``. Raises a ConfigError for what is wrong."""
    operators = config.build("space", CellSpace).operator_kinds
    folder = config.value("output_dir", Path)
    names = config.value("names", list[FolderName])
    searches = [open_search(folder / name, operators, "names") for name in dict.fromkeys(names)]
    if len(searches) < 2:
        raise ConfigError(f"names: at least two searches are compared, got {', '.join(names) or 'none'}.")
    _check_scored_alike(searches)
    return config.read(CompareSettings, ways=_ways(searches))


def _check_scored_alike(searches: Sequence[LoadedSearch]) -> None:
    first, *others = searches
    for other in others:
        was, now = ({key: one.record.fingerprint.get(key) for key in SCORING} for one in (first, other))
        if changed := differences(was, now):
            raise ConfigError(f"names: {other.name} scores differently from {first.name} ({changed}).")


def _ways(searches: Sequence[LoadedSearch]) -> dict[tuple[str, str], list[LoadedSearch]]:
    """The searches of each way to search, in the order of their seeds.

    A way is named by its algorithm and scheduler, and after its first search where another way has that name.
    """
    by_settings: dict[str, list[LoadedSearch]] = {}
    for search in sorted(searches, key=_seed):
        way = that_decide({key: search.opened.fingerprint.get(key) for key in WAY})
        by_settings.setdefault(json.dumps(way, sort_keys=True), []).append(search)
    seeds = {tuple(map(_seed, of_way)) for of_way in by_settings.values()}
    if len(by_settings) > 1 and len(seeds) > 1:
        each = "; ".join(f"{_names(of_way)}: {list(map(_seed, of_way))}" for of_way in by_settings.values())
        raise ConfigError(f"names: every way to search needs the same seeds, got {each}.")
    if any(len(set(of_way)) < len(of_way) for of_way in seeds):
        raise ConfigError(f"names: two searches have the same settings and seed: {_names(searches)}.")
    named: dict[tuple[str, str], list[LoadedSearch]] = {}
    in_order = sorted(by_settings.values(), key=lambda of_way: searches.index(of_way[0]))
    for of_way in in_order:
        recorded = of_way[0].recorded
        name = recorded.algorithm or "unknown", recorded.scheduler or "unknown"
        named[name if name not in named else (f"{name[0]} ({of_way[0].name})", name[1])] = of_way
    return named


def _names(searches: Sequence[LoadedSearch]) -> str:
    return ", ".join(search.name for search in searches)


def _seed(search: LoadedSearch) -> int:
    return search.recorded.seed or 0
