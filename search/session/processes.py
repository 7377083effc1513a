"""How many processes a command uses on this machine."""

import os

from search.config import Config, ConfigError


def process_count(config: Config, name: str) -> int:
    """The setting ``name``; null stands for one process a CPU.

    Raises:
        ConfigError: it is less than 1.
    """
    count = config.optional(name, int)
    if count is None:
        return os.cpu_count() or 1
    if count < 1:
        raise ConfigError(f"{name}: must be at least 1, got {count}.")
    return count
