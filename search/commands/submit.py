"""``dpc submit -- <command>``: run any command on a Ray cluster; and ``status=``, ``logs=``, ``stop=`` of its job."""

import os
from collections.abc import Sequence
from pathlib import Path

from cluster.submit import logs, status, stop, submit
from search.config import CONF, Config, ConfigError, load

PATHS = ("output_dir", "dataset.root", "backbone.weights", "cache.folder", "cell", "checkpoint", "json")
"""Settings that name files or folders: relative ones are resolved here, because a job runs in another folder."""


def run(config: Config) -> int:
    """Check the command here, send it, and follow its log; or ask about a job that was sent."""
    address, wait = config.optional("address", str), config.value("wait", bool)
    asked = {about: job for about in ("status", "logs", "stop") if (job := config.optional(about, str)) is not None}
    match [*asked.items()], config.passed_on:
        case [("status", job)], ():
            return status(job, address)
        case [("logs", job)], ():
            return logs(job, address, wait=wait)
        case [("stop", job)], ():
            return stop(job, address, wait=wait)
        case [], (command, *overrides):
            return submit(
                [command, *overrides, *_absolute_paths(command, overrides)],
                address,
                working_dir=CONF.parent,
                job=config.optional("job", str),
                env_vars=_environment(config.value("env", list[str])),
                wait=wait,
            )
    raise ConfigError(
        "submit: name a command after --, such as `dpc submit -- search experiment=demo`, or one of status=, logs=, stop=<job>."
    )


def _absolute_paths(command: str, overrides: Sequence[str]) -> list[str]:
    """Overrides that make the command's relative paths absolute. Composing it here finds a typo before the cluster does."""
    if not (CONF / f"{command}.yaml").is_file() or command == "submit":
        raise ConfigError(f"submit: no command {command!r} to submit.")
    inner = load(command, overrides)
    found = []
    for key in PATHS:
        value = inner.optional(key, str) if key in inner else None
        is_path = value is not None and (key == "output_dir" or Path(value).exists())
        if is_path and not Path(str(value)).is_absolute():
            found.append(f"{key}='{Path(str(value)).resolve()}'")
    return found


def _environment(names: Sequence[str]) -> dict[str, str]:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(f"env: not set in this shell: {', '.join(missing)}.")
    return {name: os.environ[name] for name in names}
