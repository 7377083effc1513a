"""What ``dpc replay`` is told."""

from dataclasses import dataclass
from typing import Annotated

from search.annotations import HERE
from search.config import Config
from search.config_errors import ConfigError
from search.deciding.space import CellSpace
from search.journal.fingerprints import differences
from search.journal.folder import LoadedSearch
from search.settings.groups import DECIDED, Deciding, search_named


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """A search, and the settings that it was searched with."""

    search: LoadedSearch
    deciding: Annotated[Deciding, HERE]


def read(config: Config) -> ReplaySettings:
    """The settings of ``dpc replay``. Raises a ConfigError for what is wrong, and where they are not those of the search."""
    search = search_named(config, "name", config.build("space", CellSpace).operator_kinds)
    deciding = config.read(Deciding)
    recorded = {key: search.opened.fingerprint[key] for key in DECIDED if key in search.opened.fingerprint}
    if changed := differences(recorded, deciding.fingerprint(config)):
        raise ConfigError(f"name: {search.name} was searched with other settings ({changed}); give those of its dpc search.")
    return config.read(ReplaySettings, search=search, deciding=deciding)
