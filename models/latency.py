"""How long cells take on one kind of hardware: the sum over operators, as ``dpc latency`` measured them. Pure Python."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from data.system.files import write_text
from data.system.json_file import read_json
from models.cost import CellCost, FeatureShape, cell_cost
from models.spec import BACKBONE, CellSpec, key_of

VERSION = 1


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of one image, for cells on one feature map; they add up, as branches run one after the other.

    Attributes:
        hardware: what they were measured on: the name of a processor or GPU.
        on_backbone_ms, on_branch_ms: of each operator, by its JSON, where it reads the backbone's features or another branch.
        joining_ms: of concatenation and projection of so many branches.
        settings: all else that is known of the measurement, for people.
    """

    hardware: str
    features: FeatureShape
    filters: int
    on_backbone_ms: Mapping[str, float]
    on_branch_ms: Mapping[str, float]
    joining_ms: Mapping[int, float]
    settings: Mapping[str, Any]

    def of(self, cell: CellSpec) -> float:
        """Milliseconds of a cell.

        Raises:
            UserError: an operator, or the number of branches, was not measured.
        """
        if len(cell) not in self.joining_ms:
            raise UserError(f"latency.table: knows cells of {_listed(self.joining_ms)} branches, got {len(cell)}.")
        read = [(self.on_backbone_ms if branch.input == BACKBONE else self.on_branch_ms, branch) for branch in cell.branches]
        unknown = [branch.operator for known, branch in read if key_of(branch.operator) not in known]
        if unknown:
            raise UserError(f"latency.table: has no {unknown[0]}; make it with the search's space.operators.")
        return sum(known[key_of(branch.operator)] for known, branch in read) + self.joining_ms[len(cell)]

    def check_hardware(self, hardware: str) -> None:
        """Raise a UserError if it is of other hardware."""
        if self.hardware != hardware:
            raise UserError(
                f"latency.table: was measured on {self.hardware}, wanted is {hardware}: `dpc latency` makes one here, "
                f"latency.hardware='{self.hardware}' searches for that one."
            )

    def check_maps(self, features: FeatureShape, filters: int) -> None:
        """Raise a UserError if it is of cells that read or give other maps."""
        if (self.features, self.filters) != (features, filters):
            raise UserError(
                f"latency.table: is of {_shown(self.features, self.filters)}, the search's cells are of "
                f"{_shown(features, filters)}: `dpc latency features.channels={features.channels} "
                f"features.height={features.height} features.width={features.width} filters={filters}`."
            )

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of the whole table but its ``settings``."""
        return hashlib.sha256(json.dumps({**self._json, "settings": None}, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def recorded(self) -> dict[str, str]:
        """What a search that resumes must find as it was."""
        return {"hardware": self.hardware, "table": self.digest}

    def write(self, path: Path) -> None:
        """As JSON."""
        write_text(path, json.dumps(self._json, indent=1) + "\n")

    @property
    def _json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "hardware": self.hardware,
            "features": [self.features.channels, self.features.height, self.features.width],
            "filters": self.filters,
            "on_backbone_ms": dict(self.on_backbone_ms),
            "on_branch_ms": dict(self.on_branch_ms),
            "joining_ms": {str(branches): ms for branches, ms in self.joining_ms.items()},
            "settings": dict(self.settings),
        }

    @classmethod
    def read(cls, path: Path) -> "LatencyTable":
        """What ``write`` wrote.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            found = read_json(path)
            if found["version"] != VERSION:
                raise ValueError(f"version {found['version']}, this dpc reads {VERSION}")
            times = {name: _times(found[name]) for name in ("on_backbone_ms", "on_branch_ms", "joining_ms")}
            joining_ms = {int(branches): ms for branches, ms in times.pop("joining_ms").items()}
            features, filters = FeatureShape(*map(int, found["features"])), int(found["filters"])
            settings = dict(found["settings"])
            return cls(str(found["hardware"]), features, filters, joining_ms=joining_ms, settings=settings, **times)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"latency.table: {path} was not written by dpc latency ({error}).") from error


def cost_with(table: LatencyTable | None, features: FeatureShape, filters: int) -> Callable[[CellSpec], CellCost]:
    """What gives a cell's cost, with its latency where there is a table."""
    if table is None:
        return partial(cell_cost, features=features, filters=filters)
    return partial(timed_cost, table=table, features=features, filters=filters)


def timed_cost(cell: CellSpec, table: LatencyTable, features: FeatureShape, filters: int) -> CellCost:
    """The exact cost of ``cell``, with its latency."""
    return replace(cell_cost(cell, features, filters), latency_ms=table.of(cell))


def _times(found: Mapping[str, Any]) -> dict[str, float]:
    times = {str(key): float(ms) for key, ms in found.items()}
    if not times or not all(math.isfinite(ms) and ms > 0 for ms in times.values()):
        raise ValueError("milliseconds must be above 0")
    return times


def _listed(numbers: Mapping[int, float]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _shown(features: FeatureShape, filters: int) -> str:
    return f"{features.channels} channels of {features.height} x {features.width} and {filters} filters"
