"""What a person may write on the command line, each text parsed once.

What Hydra would take otherwise than it is meant is quoted; what it would take for several values, or for its own, is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from data.system.uris import holds_secret
from search.conf_files import CONF, choices
from search.config_errors import ConfigError


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
class ParsedOverrides:
    """The overrides of one command, as Hydra understands them."""

    overrides: tuple[Override, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """As they were given, but that values are quoted where Hydra needs it."""
        return tuple(str(override.input_line) for override in self.overrides)

    @property
    def composed(self) -> list[str]:
        """The texts that Hydra composes: it takes the folder conf/cell/ for a config group, but a cell is no YAML."""
        return [str(override.input_line) for override in self.overrides if override.key_or_group != "cell"]

    @property
    def cells(self) -> list[Any]:
        """The values given to ``cell``."""
        return [override.value() for override in self.overrides if override.key_or_group == "cell"]

    @property
    def added(self) -> list[str]:
        """The settings at the top that are new, or that new ones lie below: ``+key=value``, ``++key.below=value``."""
        new = (override for override in self.overrides if override.is_add() or override.is_force_add())
        return [override.key_or_group.partition(".")[0] for override in new]

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments that are chosen."""
        return [text.partition("=")[2] for text in self.texts if text.startswith("experiment=")]


def parsed(texts: Sequence[str]) -> ParsedOverrides:
    """``texts`` as Hydra understands them.

    Raises:
        ConfigError: one holds a secret, gives several values to a setting, or sets something that is Hydra's own.
        HydraException: one is not of the form key=value.
    """
    for text in texts:
        _refuse_secret(text)
    parser = OverridesParser.create()
    overrides = tuple(_parsed(parser, text) for text in texts)
    for override in overrides:
        _check(override)
    return ParsedOverrides(overrides)


def quoted(text: str) -> str:
    """``text`` as the value of an override, whatever characters it has."""
    escaped = re.sub(r"(\\*)('|$)", lambda end: 2 * end[1] + ("\\'" if end[2] else ""), text)
    return f"'{escaped}'"


def _refuse_secret(text: str) -> None:
    if holds_secret(text):
        raise ConfigError(
            f"{text.partition('=')[0]}: a secret on the command line would show in Ray's job list and logs; "
            "put it into an environment variable, and write '${oc.env:NAME}' instead."
        )


_NAMES = ("name", "from", "label", "run", "register", "job")
"""Settings that others are made of, so that their text must be kept from the beginning: retrain's name is ${from}."""

_HOME_IN_LIST = re.compile(r"(?<=[\[, ])~[^,\[\]'\"]*[^,\[\]'\" ]")
"""A path below the home that stands in a list without quotes, which Hydra would need."""


def _parsed(parser: OverridesParser, text: str) -> Override:
    """``text``, its value quoted where it has characters that Hydra takes for its own, as paths may, or names a number."""
    key, separator, value = text.partition("=")
    can_be_quoted = separator and value[:1] not in ("[", "{", "'", '"') and re.fullmatch(r"[+~]*[\w./@-]+", key)
    try:
        (override,) = parser.parse_overrides([text])
    except HydraException:
        if not can_be_quoted:
            in_quotes = _HOME_IN_LIST.sub(lambda path: quoted(path[0]), value)
            (override,) = parser.parse_overrides([f"{key}{separator}{in_quotes}"])
            return override
    else:
        _refuse_sweep(key, value, override)
        is_number = override.key_or_group in _NAMES and isinstance(override.value(), int | float)
        if not can_be_quoted or not (is_number or override.is_sweep_override()):
            return override
    (override,) = parser.parse_overrides([f"{key}={quoted(value)}"])
    return override


ONE_EACH = "run the command once for each value: `for v in 0 1; do dpc search seed=$v name=mine-$v; done`, then `dpc compare`"
"""Instead of a sweep: each search has a name, a journal and a resume of its own."""


def _refuse_sweep(key: str, value: str, override: Override) -> None:
    """Refuse several values for one setting, as Hydra's programs take them. A path may have commas.

    Raises:
        ConfigError: says what to do instead.
    """
    if not override.is_sweep_override():
        return
    try:
        is_meant = not override.is_choice_sweep() or (CONF / key).is_dir()
        is_meant = is_meant or all(isinstance(one, bool | int | float) for one in override.sweep_iterator())
    except HydraException:  # a pattern of names, as *.png, is a path
        return
    if is_meant:
        raise ConfigError(f"{key}: one value is accepted, got {value}; {ONE_EACH}.")


_HYDRAS_OWN = {
    "hydra.searchpath": "use --config-dir DIR",
    "hydra.run.dir": "use output_dir=<folder>",
    "hydra.sweep.dir": "use output_dir=<folder>",
}
"""Settings of Hydra's own program, and what serves here: of Hydra only the composing of settings is used."""


def _check(override: Override) -> None:
    key = str(override.key_or_group)
    if not key:
        raise ConfigError(f"{override.input_line}: not of the form key=value.")
    if key != "cell" and (CONF / key).is_dir() and not isinstance(override.value(), str | list):
        raise ConfigError(f"{key}: a choice is needed, got {override.value()}; accepted are {', '.join(choices(key))}.")
    if key.partition("/")[0].partition(".")[0] == "hydra":
        raise ConfigError(f"{key}: no such setting; {_HYDRAS_OWN.get(key, '`dpc <command> --help` lists them')}.")
