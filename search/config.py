"""From YAML and the command line to typed values.

Every value of conf/ can be overridden on the command line. Whatever is wrong with a value is one line that says what, where,
and what is accepted, before anything starts. Only this file and those that it stands on know Hydra: ``overrides.py``,
``annotations.py``, ``conf_files.py``, ``config_errors.py``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, overload

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from data.system.paths import absolute
from search.annotations import fields_of, parameters, required
from search.conf_files import CONF, check_experiment, check_files
from search.config_errors import ConfigError, keys_below, no_such_setting, one_line, whole_key
from search.overrides import Overrides, parsed, quoted
from search.typed_values import absolute_path, is_text, typed

T = TypeVar("T")
NOTHING_GIVEN = Overrides()

_ABSENT = object()
"""Stands for a setting that a command does not have. One that is null is there, and is None."""


class Config:
    """The settings of one command, composed from conf/ and overrides."""

    def __init__(
        self,
        settings: DictConfig,
        overrides: Overrides = NOTHING_GIVEN,
        passed_on: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self.overrides = overrides
        self.passed_on = tuple(passed_on)
        """What followed ``--`` on the command line."""

    def __contains__(self, key: str) -> bool:
        with one_line():
            return OmegaConf.select(self._settings, key) is not None

    def value(self, key: str, kind: type[T]) -> T:
        """The plain value at ``key``, converted to ``kind``.

        Raises:
            ConfigError: it is missing or of another type.
        """
        with one_line():
            return self._typed(OmegaConf.select(self._settings, key, throw_on_missing=True), kind, key)

    def optional(self, key: str, kind: type[T]) -> T | None:
        """As ``value``, or None where the setting is null."""
        return self.value(key, kind) if key in self else None

    @overload
    def build(self, key: str, kind: type[T]) -> T: ...

    @overload
    def build(self, key: str, kind: UnionType) -> Any: ...

    def build(self, key: str, kind: type[T] | UnionType) -> T | Any:
        """The object that the node at ``key`` describes by its ``_target_``; it must be a ``kind``.

        Raises:
            ConfigError: a value is unknown, of the wrong type or out of range, or the target cannot be found.
        """
        with one_line():
            node = OmegaConf.select(self._settings, key)
            if node is None:
                raise ConfigError(f"{key}: a choice is needed, got null.")
            if not OmegaConf.is_dict(node):
                raise ConfigError(f"{key}: holds settings, such as {key}.<name>=..., got {node!r}.")
            checked = OmegaConf.create(self._checked(node, key))
            with whole_key(key, node, self._given_as):
                built = instantiate(checked)
        if not isinstance(built, kind):
            raise ConfigError(f"{key}: must be a {getattr(kind, '__name__', kind)}, got a {type(built).__name__}.")
        return built

    def read(self, kind: type[T], at: str = "", **given: Any) -> T:
        """The settings below ``at`` as a ``kind``, a dataclass: each field is the setting of its name, typed and checked.

        A field may be a plain type, what a ``_target_`` builds, another such dataclass, or ``Overrides``.

        Args:
            given: fields that are no settings.

        Raises:
            ConfigError: a value is missing, of the wrong type or out of range.
        """
        settings = fields_of(kind)
        values = dict(given)
        for part in fields(kind):  # type: ignore[arg-type]
            key, hint = settings[part.name]
            path = ".".join(filter(None, (at, key)))
            is_there = not path or self._node(path, _ABSENT) is not _ABSENT
            is_left_out = part.default is not MISSING and not is_there
            if part.name not in given and not is_left_out:
                values[part.name] = self._field(path, hint)
        with one_line():
            return kind(**values)

    def _field(self, path: str, kind: Any) -> Any:
        if kind is Overrides:
            return self.overrides
        node = self._node(path) if path else self._settings
        has_target = OmegaConf.is_dict(node) and "_target_" in node
        if is_dataclass(kind) and OmegaConf.is_dict(node) and not has_target:
            accepted = [key for key, _ in fields_of(kind).values()]  # type: ignore[arg-type]
            if unknown := [key for key in map(str, node) if path and key not in accepted]:
                raise ConfigError(f"{path}.{unknown[0]}: no such setting; accepted are {', '.join(accepted)}.")
            return self.read(kind, path)  # type: ignore[arg-type]
        is_built = has_target or (isinstance(kind, type) and kind.__module__ not in ("builtins", "pathlib"))
        return self.build(path, kind) if is_built else self.value(path, kind)

    def _node(self, path: str, default: Any = None) -> Any:
        with one_line():
            return OmegaConf.select(self._settings, path, default=default)

    def _checked(self, node: DictConfig, where: str) -> dict[str, Any]:
        """The values below ``node``, converted to the annotations of the targets that they go to."""
        target = node.get("_target_")
        kinds = parameters(target, where) if target else {}
        if missing := [name for name in (required(target) if target else ()) if name not in node]:
            raise ConfigError(f"{where}.{missing[0]}: a value is needed; add {where}.{missing[0]}=... to the command.")
        checked: dict[str, Any] = {}
        for key in map(str, node):
            place = f"{where}.{key}"
            if OmegaConf.is_missing(node, key):
                raise ConfigError(f"{place}: a value is needed; add {place}=... to the command.")
            value = node[key]
            if kinds and key not in kinds and not key.startswith("_"):
                raise ConfigError(f"{place}: no such setting; accepted are {', '.join(kinds)}.")
            if OmegaConf.is_dict(value) and not (key in kinds and _is_plain(value)):
                checked[key] = self._checked(value, place)
            elif key in kinds:
                plain = self._typed(value, kinds[key], place)
                checked[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_dict(value) else plain
            else:
                checked[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        return checked

    def _typed(self, value: Any, kind: Any, where: str) -> Any:
        """``value`` as a ``kind``: a path is absolute, and a text is the one that was given, such as 2026_11_28 and 1.10."""
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        if is_text(kind):
            plain = self._as_written(plain, where)
        return typed(plain, kind, self._given_as(where))

    def _as_written(self, value: Any, where: str) -> Any:
        """Numbers that stand for texts as they were given on the command line, such as 2026_11_28 and 1.10.

        Raises:
            ConfigError: one is in a file, where how it was written is lost.
        """
        given = (text.partition("=") for text in reversed(self.overrides.texts))
        written = next((text for key, _, text in given if key.lstrip("+") == where), None)
        is_repeated = "${" in (written or "") or self._given_as(where) != where
        if isinstance(value, list):
            if written is None and not is_repeated and any(isinstance(one, int | float) for one in value):
                raise ConfigError(f"{where}: must be texts, got [{', '.join(map(str, value)).lower()}]; quote them.")
            parts = [part.strip() for part in (written or "").strip("[]").split(",")]
            is_simple = len(parts) == len(value) and not is_repeated
            return [parts[at] if is_simple and isinstance(one, int | float) else one for at, one in enumerate(value)]
        if not isinstance(value, int | float) or is_repeated:
            return value
        if written is None:
            raise ConfigError(f"{where}: must be a text, got {str(value).lower()}; quote it.")
        return written

    def _given_as(self, where: str) -> str:
        """The setting that a person gives: ``where`` itself, or the one that it repeats, as ``${backbone.output_stride}``."""
        parent, _, key = where.rpartition(".")
        node = OmegaConf.select(self._settings, parent) if parent else self._settings
        if not (OmegaConf.is_dict(node) and OmegaConf.is_interpolation(node, key)):
            return where
        repeated = re.fullmatch(r"\$\{([\w.]+)\}", OmegaConf.to_container(node)[key])  # type: ignore[call-overload, index]
        return repeated[1] if repeated else where

    def paths(self, kind: type, at: str = "") -> Iterator[tuple[str, str]]:
        """The settings below ``at`` that name files or folders, by the types that ``read`` gives them; their absolute paths."""
        if not at:
            yield from _paths_in(self._settings, "")
        for key, hint in fields_of(kind).values():
            path = ".".join(filter(None, (at, key)))
            node = OmegaConf.select(self._settings, path) if path else self._settings
            if OmegaConf.is_dict(node) and is_dataclass(hint):
                yield from self.paths(hint, path)  # type: ignore[arg-type]
            elif isinstance(node, str | int | float) and absolute_path("any", hint, path) is not None:
                yield path, absolute_path(str(self._typed(node, str, path)), hint, path) or str(node)

    def targets(self) -> Iterator[tuple[str, str]]:
        """Every ``_target_``: the setting and its value."""
        return _targets_in(OmegaConf.to_container(self._settings), "")

    def plain(self, *keys: str) -> dict[str, Any]:
        """Plain containers of some nodes, for records and comparisons; a target is there as its ``kind``."""
        with one_line():
            return {
                key: _plain(OmegaConf.to_container(self._settings[key], resolve=True))
                if OmegaConf.is_config(self._settings[key])
                else self._settings[key]
                for key in keys
            }

    @property
    def keys(self) -> list[str]:
        """The top-level settings."""
        return [str(key) for key in self._settings]

    def yaml(self) -> str:
        """The settings as a person reads them."""
        return OmegaConf.to_yaml(self._settings)


def load(command: str, overrides: Sequence[str], config_dir: str | None = None, passed_on: Sequence[str] = ()) -> Config:
    """Compose conf/<command>.yaml with ``overrides``.

    Args:
        config_dir: a folder of the user's own, searched beside conf/.

    Raises:
        ConfigError: an override names something that does not exist, or holds a secret.
    """
    with one_line(partial(_of_unknown, command)):
        own = None if config_dir is None else absolute(config_dir, "--config-dir")
        if own and not (config_dir and own.is_dir()):
            raise ConfigError(f"--config-dir: no folder {config_dir!r}.")
        given = parsed(overrides)
        check_files([CONF, *([own] if own else [])], given.composed)
        settings = _composed(command, given.composed, own)
        if given.added:
            _check_added(command, given.added)
        if given.cells and "cell" not in settings:
            raise ConfigError(_not_listed(command, "cell"))
        for name in given.experiments:
            check_experiment(settings, name)
        for cell in given.cells:
            OmegaConf.update(settings, "cell", cell)
        return Config(settings, Overrides(given.texts, config_dir), passed_on)


_UNUSED = ("env", "help", "hydra_help", "hydra_logging", "job_logging", "launcher", "output", "sweeper")
"""Groups of Hydra's own program, which nothing here reads: without them, settings compose in a fifth less time."""


def _composed(command: str, overrides: Sequence[str], own: Path | None = None) -> DictConfig:
    places = [f"hydra.searchpath=[{quoted(f'file://{own}')}]"] if own else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, overrides=[*(f"~hydra/{group}" for group in _UNUSED), *places, *overrides])


def _check_added(command: str, keys: Sequence[str]) -> None:
    """Refuse a new setting at the top, which nothing would read; whoever reads a node refuses those below it."""
    known = set(map(str, _composed(command, ())))
    if unknown := [key for key in keys if key not in known]:
        raise ConfigError(_not_listed(command, unknown[0]))


def _of_unknown(command: str, key: str) -> str:
    known = keys_below(OmegaConf.to_container(_composed(command, ())))
    return no_such_setting(key, known, f"`dpc {command} --help` lists them.")


def _not_listed(command: str, key: str) -> str:
    return no_such_setting(key, (), f"`dpc {command} --help` lists them.")


def _paths_in(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """The paths below a node, by the annotations of the targets that they go to."""
    kinds = parameters(target, where) if (target := node.get("_target_")) else {}
    for key in (key for key in node if not OmegaConf.is_missing(node, key)):
        value, place = node[key], ".".join(filter(None, (where, str(key))))
        if OmegaConf.is_dict(value):
            yield from _paths_in(value, place)
        elif isinstance(value, str) and (named := absolute_path(value, kinds.get(key), place)) is not None:
            yield place, named


def _targets_in(node: Any, where: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        place = f"{where}.{key}" if where else str(key)
        if key == "_target_":
            yield place, str(value)
        else:
            yield from _targets_in(value, place)


def _is_plain(node: Any) -> bool:
    """Whether nothing in it is built, or holds further settings."""
    return "_target_" not in node and not any(OmegaConf.is_dict(value) for value in node.values())


def _plain(value: Any) -> Any:
    """Without the keys that only Hydra reads; ``_target_`` is there as ``kind``."""
    if not isinstance(value, dict):
        return value
    kind = {"kind": value["_target_"]} if "_target_" in value else {}
    return kind | {str(key): _plain(inner) for key, inner in value.items() if not str(key).startswith("_")}
