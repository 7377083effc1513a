"""Commands that are told a thousand things, of which only what is new takes time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from search import config, overrides
from search.conf_files import CONF
from search.config import Config


@dataclass
class Composed:
    """The settings that a command and its choices compose, as they were, and the values that are in them now."""

    settings: DictConfig
    raw: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)

    def put(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            OmegaConf.update(self.settings, key, value, merge=False)
        self.values = values

    def take_back(self) -> None:
        for key in self.values:
            OmegaConf.update(self.settings, key, _at(self.raw, key), merge=False)
        self.values = {}


@contextmanager
def composed_once() -> Iterator[Callable[[], None]]:
    """What is right is parsed, composed and built once, and settings' values are put into that.

    Gives a function that takes them back.
    """
    real_compose, real_build = config.compose, Config.build
    parsed = cache(OverridesParser.create().parse_override)
    compositions, built = {}, {}

    def composed(command, overrides):
        if (command, overrides) not in compositions:
            settings = real_compose(command, overrides=list(overrides))
            compositions[command, overrides] = Composed(settings, OmegaConf.to_container(settings))
        return compositions[command, overrides]

    def compose(command, overrides=()):
        values = {override.key_or_group: override for override in map(parsed, overrides) if _is_value(override)}
        there = composed(command, tuple(text for text in overrides if parsed(text) not in values.values()))
        values = {key: override.value() for key, override in values.items()}
        if there.values != values:
            if there.values or any(_at(there.raw, key, there) is there for key in values):
                return real_compose(command, overrides=list(overrides))
            there.put(values)
        return there.settings

    def build(self, key, kind):
        node = OmegaConf.select(self._settings, key)
        if not OmegaConf.is_dict(node):
            return real_build(self, key, kind)
        content = key, kind, repr(OmegaConf.to_container(node, resolve=True))
        if content not in built:
            built[content] = real_build(self, key, kind)
        return built[content]

    parser = SimpleNamespace(parse_override=parsed, parse_overrides=lambda texts: list(map(parsed, texts)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(config, "compose", compose)
        patched.setattr(overrides, "OverridesParser", SimpleNamespace(create=lambda: parser))
        patched.setattr(Config, "build", build)
        yield lambda: [one.take_back() for one in compositions.values()]


def _at(raw, key, default=None):
    for part in key.split("."):
        raw = raw.get(part, default) if isinstance(raw, dict) else default
    return raw


def _is_value(override) -> bool:
    is_choice = (CONF / str(override.key_or_group)).is_dir()
    return not (override.is_add() or override.is_delete() or override.is_sweep_override() or is_choice)
