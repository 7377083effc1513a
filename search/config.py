"""From YAML and the command line to typed values: the only file that knows Hydra.

Every value of conf/ can be overridden on the command line. Whatever is wrong with a value is one line that says what, where,
and what is accepted, before anything starts.
"""

import inspect
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints, overload

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.system.errors import UserError
from data.system.uris import holds_secret
from search.typed_values import absolute_path, is_text, typed

CONF = Path(__file__).resolve().parents[1] / "conf"

T = TypeVar("T")

_ABSENT = object()
"""What a setting is that a command does not have. One that is null is there."""


class ConfigError(UserError):
    """A setting that is unknown, of the wrong type, or out of range."""


@dataclass(frozen=True)
class Overrides:
    """What was given on the command line: for the command that a person runs next.

    Attributes:
        config_dir: the user's own conf folder, as it was given.
    """

    texts: tuple[str, ...] = ()
    config_dir: str | None = None

    @property
    def given(self) -> list[str]:
        """All of them, as arguments of the same command."""
        return [*([f"--config-dir={self.config_dir}"] if self.config_dir else []), *self.texts]

    def of(self, *groups: str) -> list[str]:
        """Those of some groups of settings."""
        return [text for text in self.texts if text.split("=")[0].split(".")[0].lstrip("+~") in groups]

    def arguments(self, *groups: str) -> list[str]:
        """Those of some groups as arguments of another command, which finds the user's own conf folder as well."""
        return [*([f"--config-dir={self.config_dir}"] if self.config_dir else []), *self.of(*groups)]


@dataclass(frozen=True)
class At:
    """In the annotation of a field: the setting that ``Config.read`` fills it from, where that has another name."""

    key: str


HERE = At("")
"""The same settings as those of the class that has the field."""


class Config:
    """The settings of one command, composed from conf/ and overrides."""

    def __init__(
        self,
        settings: DictConfig,
        overrides: Sequence[str] = (),
        config_dir: str | None = None,
        passed_on: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self.overrides = tuple(overrides)
        self.config_dir = config_dir
        self.passed_on = tuple(passed_on)
        """What followed ``--`` on the command line."""

    def __contains__(self, key: str) -> bool:
        return OmegaConf.select(self._settings, key) is not None

    def value(self, key: str, kind: type[T]) -> T:
        """The plain value at ``key``, converted to ``kind``.

        Raises:
            ConfigError: it is missing or of another type.
        """
        with _one_line():
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
        with _one_line():
            node = OmegaConf.select(self._settings, key)
            if node is None:
                raise ConfigError(f"{key}: a choice is needed, got null.")
            if not OmegaConf.is_dict(node):
                raise ConfigError(f"{key}: holds settings, such as {key}.<name>=..., got {node!r}.")
            checked = OmegaConf.create(self._checked(node, key))
            with _whole_key(key, node, self._given_as):
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
        hints = get_type_hints(kind, include_extras=True)
        values = dict(given)
        for part in fields(kind):  # type: ignore[arg-type]
            key, hint = _key(part.name, hints[part.name])
            path = ".".join(filter(None, (at, key)))
            is_there = not path or OmegaConf.select(self._settings, path, default=_ABSENT) is not _ABSENT
            is_left_out = part.default is not MISSING and not is_there
            if part.name not in given and not is_left_out:
                values[part.name] = self._field(path, hint)
        with _one_line():
            return kind(**values)

    def _field(self, path: str, kind: Any) -> Any:
        if kind is Overrides:
            return Overrides(self.overrides, self.config_dir)
        node = OmegaConf.select(self._settings, path) if path else self._settings
        has_target = OmegaConf.is_dict(node) and "_target_" in node
        if is_dataclass(kind) and OmegaConf.is_dict(node) and not has_target:
            added = {text.partition("=")[0].lstrip("+") for text in self.overrides if text.startswith("+")}
            accepted = [_key(*hint)[0] for hint in get_type_hints(kind, include_extras=True).items()]
            if unknown := [key for key in map(str, node) if key not in accepted and f"{path}.{key}" in added]:
                raise ConfigError(f"{path}.{unknown[0]}: no such setting; accepted are {', '.join(accepted)}.")
            return self.read(kind, path)  # type: ignore[arg-type]
        is_built = has_target or (isinstance(kind, type) and kind.__module__ not in ("builtins", "pathlib"))
        return self.build(path, kind) if is_built else self.value(path, kind)

    def _checked(self, node: DictConfig, where: str) -> dict[str, Any]:
        """The values below ``node``, converted to the annotations of the targets that they go to."""
        target = node.get("_target_")
        kinds = _annotations(target, where) if target else {}
        if missing := [name for name in (_required(target) if target else ()) if name not in node]:
            raise ConfigError(f"{where}.{missing[0]}: a value is needed; add {where}.{missing[0]}=... to the command.")
        checked: dict[str, Any] = {}
        for key in map(str, node):
            place = f"{where}.{key}"
            if OmegaConf.is_missing(node, key):
                raise ConfigError(f"{place}: a value is needed; add {place}=... to the command.")
            value = node[key]
            if OmegaConf.is_dict(value) and not (key in kinds and _is_plain(value)):
                checked[str(key)] = self._checked(value, place)
            elif key in kinds:
                plain = self._typed(value, kinds[key], place)
                checked[str(key)] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_dict(value) else plain
            elif kinds and not str(key).startswith("_"):
                raise ConfigError(f"{place}: no such setting; accepted are {', '.join(kinds)}.")
            else:
                checked[str(key)] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        return checked

    def _typed(self, value: Any, kind: Any, where: str) -> Any:
        """``value`` as a ``kind``: a path is absolute, and a text is the one that was given, such as 2026_11_28 and 1.10."""
        if isinstance(value, int | float) and is_text(kind):
            given = (text.partition("=") for text in reversed(self.overrides))
            value = next((text for key, _, text in given if key.lstrip("+") == where), value)
        where = self._given_as(where)
        return typed(OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value, kind, where)

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
        for part in fields(kind):
            key, hint = _key(part.name, get_type_hints(kind, include_extras=True)[part.name])
            path = ".".join(filter(None, (at, key)))
            node = OmegaConf.select(self._settings, path) if path else self._settings
            if OmegaConf.is_dict(node) and is_dataclass(hint):
                yield from self.paths(hint, path)  # type: ignore[arg-type]
            elif isinstance(node, str | int | float) and absolute_path("any", hint) is not None:
                yield path, absolute_path(str(self._typed(node, str, path)), hint) or str(node)

    def plain(self, *keys: str) -> dict[str, Any]:
        """Plain containers of some nodes, for records and comparisons; a target is there as its ``kind``."""
        with _one_line():
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
    for override in overrides:
        if holds_secret(override):
            raise ConfigError(
                f"{override.partition('=')[0]}: a secret on a command line stands in Ray's list of jobs and in its logs; "
                "put it into the environment, and '${oc.env:NAME}' in its place."
            )
    extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    if config_dir and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir: no folder {config_dir}.")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"), _one_line(command):
        for override in overrides:
            _refuse_sweep(override)
        overrides = [_readable(override) for override in overrides]
        cells, others = _split_off_cell(overrides)
        _check_files([CONF, *([Path(config_dir)] if config_dir else [])], others)
        settings = compose(command, overrides=[*extra, *others])
        _check_additions(command, overrides)
        if cells and "cell" not in settings:
            raise ConfigError(f"cell: no such setting; `dpc {command} --help` lists them.")
        for name in (override.partition("=")[2] for override in overrides if override.startswith("experiment=")):
            _check_experiment(settings, name)
        for cell in cells:
            OmegaConf.update(settings, "cell", cell)
        return Config(settings, overrides, config_dir, passed_on)


_HYDRAS_OWN = {
    "hydra.searchpath": "use --config-dir DIR",
    "hydra.run.dir": "use output_dir=<folder>",
    "hydra.sweep.dir": "use output_dir=<folder>",
}
"""Settings of Hydra's own program, and what serves here: of Hydra only the composing of settings is used."""


def _check_additions(command: str, overrides: Sequence[str]) -> None:
    """Refuse a new setting at the top, which nothing would read; whoever reads a node refuses those below it."""
    added = [parsed.key_or_group for parsed in OverridesParser.create().parse_overrides(list(overrides)) if parsed.is_add()]
    if not (tops := [key for key in added if "." not in key]):
        return
    known = set(map(str, compose(command)))
    if unknown := [key for key in tops if key not in known]:
        raise ConfigError(f"{unknown[0]}: no such setting; `dpc {command} --help` lists them.")


def _check_files(places: Sequence[Path], overrides: Sequence[str]) -> None:
    """Refuse a chosen file that holds no settings. Hydra would not say which it is, and takes a list for none.

    Raises:
        ConfigError: names the file.
    """
    for group, _, name in (override.partition("=") for override in overrides):
        for file in (place / group.lstrip("+") / f"{name}.yaml" for place in places if group and name.isprintable()):
            if not file.is_file():
                continue
            try:
                with file.open(encoding="utf-8") as stream:
                    holds = yaml.safe_load(stream)
            except UnicodeDecodeError as error:
                raise ConfigError(f"{group}: {file} is no text in UTF-8 ({error}).") from error
            except RecursionError as error:
                raise ConfigError(f"{group}: {file} is nested too deeply for settings.") from error
            except yaml.YAMLError as error:
                raise ConfigError(f"{group}: {' '.join(str(error).split())}; a YAML file is indented by blanks.") from error
            if file.read_bytes().startswith(BOM_UTF8):
                raise ConfigError(f"{group}: {file} begins with a byte order mark; save it as UTF-8 without one.")
            if not isinstance(holds, dict) or not holds:
                raise ConfigError(f"{group}: {file} must hold settings, such as `trials: 50`.")


def _split_off_cell(overrides: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The values given to ``cell``, and the other overrides: Hydra takes the folder conf/cell/ for a config group."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        key = str(override.key_or_group)
        if not key:
            raise ConfigError(f"{override.input_line}: not of the form key=value.")
        if key != "cell" and (CONF / key).is_dir() and not isinstance(override.value(), str | list):
            raise ConfigError(f"{key}: a choice is needed, got {override.value()}; accepted are {', '.join(_choices(key))}.")
        if key.partition("/")[0].partition(".")[0] == "hydra":
            raise ConfigError(f"{key}: no setting of dpc; {_HYDRAS_OWN.get(key, '`dpc <command> --help` lists them')}.")
    cells = [override.value() for override in parsed if override.key_or_group == "cell"]
    return cells, [str(override.input_line) for override in parsed if override.key_or_group != "cell"]


def _choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _check_experiment(settings: DictConfig, name: str) -> None:
    """Refuse what a file of conf/experiment/, or of a folder of one's own, sets where no command looks.

    Raises:
        ConfigError: names the key.
    """
    if OmegaConf.is_dict(lost := OmegaConf.select(settings, "experiment")):
        keys = ", ".join(map(str, lost))
        raise ConfigError(f"experiment: {name}.yaml needs the first line `# @package _global_`; without it {keys} are lost.")
    for key in map(str, settings):
        if key not in (known := _settings_of_any_command()):
            close = get_close_matches(key, known, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else "no command has it."
            raise ConfigError(f"{key}: no such setting; {hint}")


@cache
def _settings_of_any_command() -> frozenset[str]:
    """The top-level settings that some command has."""
    files = [yaml.load(path.read_bytes(), Loader=_FAST_LOADER) for path in CONF.glob("*.yaml")]
    return frozenset(key for settings in files for key in settings) | {path.name for path in CONF.iterdir() if path.is_dir()}


_FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML can be built without libyaml."""


_NAMES = ("name", "from", "label", "run", "register", "job")
"""Settings that others are made of, so that their text must be kept from the beginning: retrain's name is ${from}."""


ONE_EACH = "run the command once for each value: `for v in 0 1; do dpc search seed=$v name=mine-$v; done`, then `dpc compare`"
"""Instead of a sweep: each search has a name, a journal and a resume of its own."""


def _refuse_sweep(override: str) -> None:
    """Refuse several values for one setting, as Hydra's programs take them. A path may have commas.

    Raises:
        ConfigError: says what to do instead.
    """
    key, _, value = override.partition("=")
    try:
        parsed = OverridesParser.create().parse_override(override)
        if not parsed.is_sweep_override():
            return
        is_meant = not parsed.is_choice_sweep() or (CONF / key).is_dir()
        is_meant = is_meant or all(isinstance(one, bool | int | float) for one in parsed.sweep_iterator())
    except HydraException:
        return
    if is_meant:
        raise ConfigError(f"{key}: one value is accepted, got {value}; {ONE_EACH}.")


def _readable(override: str) -> str:
    """``override``, with its value quoted where it has characters that Hydra takes for its own, as paths may."""
    key, separator, value = override.partition("=")
    if not separator or value[:1] in ("[", "{", "'", '"') or not re.fullmatch(r"[+~]*[\w./@-]+", key):
        return override
    try:
        parsed = OverridesParser.create().parse_override(override)
        is_number = parsed.key_or_group in _NAMES and isinstance(parsed.value(), int | float)
        is_understood = not parsed.is_sweep_override() and not is_number
    except HydraException:
        is_understood = False
    return override if is_understood else f"{key}={quoted(value)}"


def quoted(text: str) -> str:
    """``text`` as the value of an override, whatever characters it has."""
    escaped = re.sub(r"(\\*)('|$)", lambda end: 2 * end[1] + ("\\'" if end[2] else ""), text)
    return f"'{escaped}'"


@contextmanager
def _whole_key(key: str, node: DictConfig, given_as: Callable[[str], str]) -> Iterator[None]:
    """Settings of which there are several, such as ``cell.filters``, know only the end of their key: says which it is."""
    try:
        yield
    except (HydraException, ValueError) as error:
        cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ else error
        name, rest = re.fullmatch(r"([\w.]*)(.*)", str(cause), re.S).groups()  # type: ignore[union-attr]
        whole = [path for path in _paths(OmegaConf.to_container(node), f"{key}.") if path.endswith(f".{name}")]
        if len(whole) != 1 or not isinstance(cause, ValueError):
            raise
        raise ConfigError(f"{given_as(whole[0])}{rest}") from error


@contextmanager
def _one_line(command: str | None = None) -> Iterator[None]:
    """Turns what Hydra, OmegaConf and constructors raise into a ConfigError of one line."""
    try:
        yield
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(f"{' '.join(str(error).split())}; a YAML file is indented by blanks.") from error
    except OverrideParseException as error:
        raise ConfigError(f"{error.override}: not of the form key=value ({error}).") from error
    except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
        cause: BaseException = error
        while isinstance(cause, HydraException | OmegaConfBaseException) and cause.__cause__ is not None:
            cause = cause.__cause__
        is_ours = isinstance(cause, ValueError) and not isinstance(cause, HydraException | OmegaConfBaseException)
        raise ConfigError(str(cause) if is_ours else _explain(str(error), command)) from error


def _explain(text: str, command: str | None) -> str:
    """Hydra's message for a wrong override in our words, or on one line where there is nothing to add."""
    if command and (found := re.search(r"Could not override '([^']+)'", text)):
        close = get_close_matches(found[1], list(_known_keys(command)), 3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"`dpc {command} --help` lists them."
        return f"{found[1]}: no such setting; {hint}"
    if found := re.search(r"Missing mandatory value: (\S+)|Key '(\S+)' is not in struct", text):
        key = found[found.lastindex or 1]
        return f"{key}: a value is needed; add {key}=... to the command."
    if found := re.search(r"Could not find '([^']+)'\s+Available options in '([^']+)':((?:\s+[\w/]+$)+)", text, re.M):
        return f"{found[2]}: no choice {found[1].split('/')[-1]!r}; accepted are {', '.join(found[3].split())}."
    if found := re.search(r"Error merging override ([\w./@+~]+)=(.*)", text):
        return f"{found[1].lstrip('+~')}: takes no value of this form, got {found[2]}."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("set env var", "object_type", "See https", "full_key"))]
    return " ".join(lines)


def _known_keys(command: str) -> Iterator[str]:
    return _paths(OmegaConf.to_container(load(command, [])._settings), "")


def _paths_in(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """The paths below a node, by the annotations of the targets that they go to."""
    kinds = _annotations(target, where) if (target := node.get("_target_")) else {}
    for key in (key for key in node if not OmegaConf.is_missing(node, key)):
        value, place = node[key], ".".join(filter(None, (where, str(key))))
        if OmegaConf.is_dict(value):
            yield from _paths_in(value, place)
        elif isinstance(value, str) and (named := absolute_path(value, kinds.get(key))) is not None:
            yield place, named


def _paths(node: object, prefix: str) -> Iterator[str]:
    """The keys of ``node`` and of all nodes below it."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
            yield from _paths(value, f"{prefix}{key}.")


def _is_plain(node: Any) -> bool:
    """Whether nothing in it is built, or holds further settings."""
    return "_target_" not in node and not any(OmegaConf.is_dict(value) for value in node.values())


def _annotations(target: str, where: str) -> dict[str, Any]:
    try:
        callable_ = get_object(target)
    except Exception as error:  # Hydra raises many kinds for a path that leads nowhere
        raise ConfigError(f"{where}._target_: cannot find {target!r}.") from error
    hints = get_type_hints(callable_.__init__ if inspect.isclass(callable_) else callable_, include_extras=True)
    return {name: hints.get(name, Any) for name in inspect.signature(callable_).parameters}


def _required(target: str) -> list[str]:
    parameters = inspect.signature(get_object(target)).parameters.values()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in parameters if one.default is inspect.Parameter.empty and one.kind in by_name]


def _key(name: str, hint: Any) -> tuple[str, Any]:
    """Of a field: its setting, and its type without that."""
    marks = hint.__metadata__ if get_origin(hint) is Annotated else ()
    for at in (mark for mark in marks if isinstance(mark, At)):
        others = tuple(mark for mark in marks if mark is not at)  # Annotated in Annotated is one, with the marks of both
        return at.key, Annotated[(hint.__origin__, *others)] if others else hint.__origin__
    return name, hint


def _plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind = {"kind": value["_target_"]} if "_target_" in value else {}
    return kind | {str(key): _plain(inner) for key, inner in value.items() if not str(key).startswith("_")}
