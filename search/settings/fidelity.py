"""What ``dpc fidelity`` is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from search.annotations import HERE
from search.config import Config, load
from search.config_errors import ConfigError
from search.deciding.reduced import CellList
from search.deciding.space import CellSpace
from search.settings.groups import AcceptedCode, Count, Images, Seed, Workplace
from search.settings.places import FolderName, OutputFolder
from search.tracking.database import check_tables
from search.tracking.settings import Tracking
from training.settings import ProxySettings, RetrainSettings

SIDES = ("first", "second")

ProtocolName = Literal["proxy", "end_to_end"]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two ways to score the cells.

    Attributes:
        scored: the settings of its protocol.
        fingerprint: those that a resume must find as they were.
        recorded: what its journal tells people.
    """

    protocol: ProtocolName
    scored: ProxySettings | RetrainSettings
    space: CellSpace
    seed: Seed
    images: Annotated[Images, HERE]
    workplace: Annotated[Workplace, HERE]
    accept: AcceptedCode
    tracking: Tracking
    fingerprint: Mapping[str, Any]
    recorded: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_tables(self.tracking.resolved(self.workplace.output_dir))
        self.workplace.check_copies(self.images.cache)
        self.scored.check(self.images.backbone.output_stride)


@dataclass(frozen=True, kw_only=True)
class FidelitySettings:
    """The same cells, scored in two ways.

    Attributes:
        seeds: trainings of each cell on each side. No two have one seed: what they had in common would look like agreement.
        retry_failed: whether trainings that failed before are tried again.
    """

    seeds: Count
    label: FolderName
    retry_failed: bool
    output_dir: OutputFolder
    cells: CellList
    sides: Mapping[str, Side]

    def __post_init__(self) -> None:
        taken = [self.seed(side, number) for side in self.sides for number in range(self.seeds)]
        if len(set(taken)) < len(taken):
            sides = " and ".join(f"{side}.overrides" for side in self.sides)
            raise ConfigError(
                f"{sides}: two trainings of a cell would have one seed, of {sorted(taken)}; seed= is of both sides."
            )

    def seed(self, side: str, number: int) -> int:
        """The seed of training ``number``, from 0, of any cell on ``side``; more ``seeds`` change no earlier one."""
        return self.sides[side].seed + number * len(self.sides) + list(self.sides).index(side)

    @property
    def folder(self) -> Path:
        return self.output_dir / self.label


def read(config: Config) -> FidelitySettings:
    """The settings of ``dpc fidelity``. Raises a ConfigError for what is wrong."""
    return config.read(FidelitySettings, sides={side: _side(config, side) for side in SIDES})


def _side(config: Config, name: str) -> Side:
    """The settings with what one side changes."""
    changes = config.value(f"{name}.overrides", list[str])
    try:
        return _changed_side(load("fidelity", [*config.overrides.texts, *changes], config.overrides.config_dir), name)
    except ConfigError as error:
        raise ConfigError(f"{name}.overrides: {error}" if changes else str(error)) from error


def _changed_side(changed: Config, name: str) -> Side:
    protocol: ProtocolName = changed.value(f"{name}.protocol", ProtocolName)  # type: ignore[arg-type]
    by_proxy = protocol == "proxy"
    return changed.read(
        Side,
        protocol=protocol,
        scored=changed.build("proxy", ProxySettings) if by_proxy else changed.build("training", RetrainSettings),
        fingerprint=changed.plain("proxy") if by_proxy else changed.plain("training"),
        recorded=changed.plain("proxy", "training", "dataset"),
    )
