"""What ``dpc latency`` is told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from data.system.cpus import available_cpus
from models.cost import FeatureShape
from search.config import Config
from search.deciding.space import CellSpace
from search.findings.estimates import FEWEST
from search.settings.groups import Count, Seed
from search.settings.places import OutputFolder


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """What is measured, and how.

    Attributes:
        check_cells: whole cells, drawn at random, that sums over operators are compared with.
    """

    output_dir: OutputFolder
    device: Literal["cpu", "cuda"]
    threads: Count
    rounds: Count
    check_cells: Annotated[int, Ge(FEWEST)]
    seed: Seed
    space: CellSpace
    features: FeatureShape
    filters: Count

    def __post_init__(self) -> None:
        if self.threads > (there := available_cpus()):
            raise ValueError(f"threads: must be at most this machine's {there}, got {self.threads}.")


def read(config: Config) -> LatencySettings:
    """The settings of ``dpc latency``. Raises a ConfigError for what is wrong."""
    return config.read(LatencySettings)
