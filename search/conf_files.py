"""The files of conf/, and those of a person's own conf folder that are chosen beside them."""

from codecs import BOM_UTF8
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from data.system.project import ROOT
from search.config_errors import ConfigError, no_such_setting, of_yaml

CONF = ROOT / "conf"


def choices(group: str) -> list[str]:
    """The names that a group of conf/ can be set to."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def check_files(places: Sequence[Path], overrides: Sequence[str]) -> None:
    """Refuse a chosen file that holds no settings. Hydra would not say which it is, and takes a list for none.

    Raises:
        ConfigError: names the file.
    """
    for group, _, name in (override.partition("=") for override in overrides):
        for folder in (place / group.lstrip("+") for place in places if group):
            is_choice = folder.is_dir() and name.isprintable() and not Path(name).is_absolute()
            if is_choice and (file := folder / f"{name}.yaml").is_file():
                _check_file(group, file)


def _check_file(group: str, file: Path) -> None:
    try:
        with file.open(encoding="utf-8") as stream:
            holds = yaml.safe_load(stream)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{group}: {file} is not UTF-8 text ({error}).") from error
    except RecursionError as error:
        raise ConfigError(f"{group}: {file} is nested too deeply for settings.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{group}: {of_yaml(error)}") from error
    if file.read_bytes().startswith(BOM_UTF8):
        raise ConfigError(f"{group}: {file} begins with a byte order mark; save it as UTF-8 without one.")
    if not isinstance(holds, dict) or not holds:
        raise ConfigError(f"{group}: {file} must hold settings, such as `trials: 50`.")


def check_experiment(settings: DictConfig, name: str) -> None:
    """Refuse what a file of conf/experiment/, or of a folder of one's own, sets where no command looks.

    Args:
        settings: a command's, composed with the experiment ``name``.

    Raises:
        ConfigError: names the key.
    """
    if OmegaConf.is_dict(lost := OmegaConf.select(settings, "experiment")):
        keys = ", ".join(map(str, lost))
        raise ConfigError(f"experiment: {name}.yaml needs the first line `# @package _global_`; without it {keys} are lost.")
    for key in map(str, settings):
        if key not in (known := _settings_of_any_command()):
            raise ConfigError(no_such_setting(key, known, "no command has it."))


@cache
def _settings_of_any_command() -> frozenset[str]:
    """The top-level settings that some command has."""
    files = [yaml.load(path.read_bytes(), Loader=_FAST_LOADER) for path in CONF.glob("*.yaml")]
    return frozenset(key for settings in files for key in settings) | {path.name for path in CONF.iterdir() if path.is_dir()}


_FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML can be built without libyaml."""
