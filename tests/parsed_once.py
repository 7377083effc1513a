"""Hydra reads each file of conf/ once in a process: to read them is half of what settings cost, which tests load so often."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

from hydra._internal.config_repository import ConfigRepository
from hydra.plugins.config_source import ConfigResult

from search.config import CONF

_read = ConfigRepository.load_config
_kept: dict[str, ConfigResult | None] = {}


def use() -> None:
    ConfigRepository.load_config = _load  # type: ignore[method-assign]


@contextmanager
def as_hydra_does() -> Iterator[None]:
    """Within, each file is read whenever it is asked for."""
    ConfigRepository.load_config = _read  # type: ignore[method-assign]
    try:
        yield
    finally:
        use()


def _load(self: ConfigRepository, config_path: str) -> ConfigResult | None:
    if any(source.scheme() == "file" and source.path != str(CONF) for source in self.sources):
        return _read(self, config_path)  # a folder of a user's own
    if config_path not in _kept:
        _kept[config_path] = _read(self, config_path)
    return deepcopy(_kept[config_path])
