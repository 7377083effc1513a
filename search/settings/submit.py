"""What ``dpc submit`` is told."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

from cluster.package import UPLOADED_FOLDERS
from data.system.paths import absolute
from search.conf_files import CONF
from search.config import Config, load
from search.config_errors import ConfigError, one_line
from search.overrides import quoted

CELLS = ("cell", "prior.cell", "first")
"""Each is a name in conf/cell/, a file, or a list of them; ``first`` of ``dpc fidelity`` is a protocol."""
READ_AS_TEXT = ("output_dir", "images")
"""Paths that a command reads otherwise than by the type of a field."""


@dataclass(frozen=True, kw_only=True)
class SubmitSettings:
    """A command for a cluster, or a question about a job that was sent.

    Attributes:
        status: the job that is asked about, and so are ``logs`` and ``stop``; one at most.
        command: with its overrides, whose paths are absolute; empty where a job is asked about.
        code: modules and packages of one's own that travel with it.
        variables: of the environment, that do.
    """

    address: str | None
    job: str | None
    wait: bool
    status: str | None
    logs: str | None
    stop: str | None
    command: Sequence[str]
    code: list[str]
    variables: Mapping[str, str]

    def __post_init__(self) -> None:
        asked = [job for job in (self.status, self.logs, self.stop) if job is not None]
        if len(asked) + bool(self.command) != 1:
            raise ValueError(
                "submit: name a command after --, such as `dpc submit -- search experiment=demo`, or one of status=, logs=, "
                "stop=<job>."
            )
        for given in self.code:
            path = absolute(given, "code")
            if not path.is_dir() and path.suffix != ".py":
                raise ValueError(f"code: accepted are Python files and folders of packages, got {given!r}.")
            if not path.exists():
                raise ValueError(f"code: {given} does not exist.")


def read(config: Config) -> SubmitSettings:
    """The settings of ``dpc submit``. Raises a ConfigError for what is wrong."""
    code, variables = config.value("code", list[str]), _variables(config.value("env", list[str]))
    command = _command(*config.passed_on, code=code) if config.passed_on else ()
    return config.read(SubmitSettings, command=command, variables=variables)


def _check_sent(inner: Config, code: Sequence[str]) -> None:
    """Refuse a ``_target_`` in a module that lies here, and would not be there."""
    sent = {*UPLOADED_FOLDERS, *(Path(path).stem for path in code)}
    for setting, target in inner.targets():
        module = target.partition(".")[0]
        here = next((path for path in (f"{module}.py", module) if Path(path).exists()), None)
        if here and module not in sent:
            raise ConfigError(f"{setting}: {here} does not travel with the job; add code=[{here}] before the --.")


def _command(command: str, *arguments: str, code: Sequence[str] = ()) -> list[str]:
    """With overrides that make its relative paths absolute. Composing it here finds a typo before the cluster does."""
    overrides = [argument for argument in arguments if not argument.startswith("--")]
    options, config_dir = _options([argument for argument in arguments if argument.startswith("--")])
    if not (CONF / f"{command}.yaml").is_file() or command == "submit":
        raise ConfigError(f"submit: no command {command!r} to submit.")
    inner = load(command, overrides, config_dir)
    _check_sent(inner, code)
    kind = get_type_hints(import_module(f"search.settings.{command.replace('-', '_')}").read)["return"]
    with one_line():
        paths = dict(inner.paths(kind))
    for key in READ_AS_TEXT:
        if (value := inner.optional(key, str)) is not None:
            paths[key] = str(absolute(value, key))
    given = {key: inner.optional(key, str) for key in paths}
    changed = [f"{key}={quoted(path)}" for key, path in paths.items() if path != given[key]]
    return [command, *options, *overrides, *changed, *(text for key in CELLS for text in _cells(inner, key))]


def _cells(inner: Config, key: str) -> list[str]:
    """The override of a setting that is cells, with absolute paths, where some are files."""
    is_list = isinstance(given := inner.optional(key, object), list)
    if given is None or isinstance(given, dict):
        return []
    names = inner.value(key, list[str]) if is_list else [inner.value(key, str)]
    files = {name: path for name in names if (path := absolute(name, key)).is_file()}
    sent = [quoted(str(files.get(name, name))) for name in names]
    return [f"{key}=[{','.join(sent)}]" if is_list else f"{key}={sent[0]}"] if files else []


def _options(given: Sequence[str]) -> tuple[list[str], str | None]:
    """A command's own options, and the folder among them, which is absolute."""
    options, config_dir = [], None
    for text in given:
        option, _, value = text.partition("=")
        if option == "--config-dir" and value:
            config_dir = str(absolute(value, option))
            options.append(f"{option}={config_dir}")
        elif text == "--debug":
            options.append(text)
        else:
            raise ConfigError(f"{option}: a submitted command accepts only --debug and --config-dir=<a folder on this disk>.")
    return options, config_dir


def _variables(names: Sequence[str]) -> dict[str, str]:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(f"env: not set in this shell: {', '.join(missing)}.")
    return {name: os.environ[name] for name in names}
