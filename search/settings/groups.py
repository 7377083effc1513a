"""Groups of settings that several commands share; each is typed, and checked when it is made.

Nothing below search/settings/ loads torch, Ray, MLflow, matplotlib or what depends on them: a wrong setting is answered before
a command begins (docs/decisions.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import AfterValidator, BeforeValidator

from data.cache.settings import CacheSettings
from data.datasets.contract import SegmentationDataset
from data.store import Store
from data.system.cpus import available_cpus
from data.system.paths import PathText
from models.backbone_check import check_backbone
from models.cost import FeatureShape
from models.latency import LatencyTable, cost_with
from models.settings import HUB, SEEDS, BackboneChoice
from models.spec import CellError, CellSpec, Operator
from search.annotations import At
from search.config import Config
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.listed import Listed
from search.deciding.algorithms.prior import NearPrior, Prior
from search.deciding.budget import Budget, check_latency
from search.deciding.policy import Plan
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.journal.folder import LoadedSearch, open_search
from search.overrides import Overrides
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.address import check_address, given_address, names_cluster
from search.running.resources import Resources
from search.settings.named_cells import cell_file
from search.settings.places import FolderName, OutputFolder, check_made
from training.settings import ProxySettings

SHARED = ("experiment", "dataset", "backbone", "output_dir", "space", "cache", "tracking")
"""Groups of settings that the command after a search needs as the search did."""

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0), Lt(SEEDS)]

AcceptedCode = Annotated[
    list[Literal["scoring_code", "search_code"]], BeforeValidator(lambda code: [code] if isinstance(code, str) else code)
]
"""Digests of code that may differ from those that a study began with: the user says that this changes no result."""


RayAddress = Annotated[str, AfterValidator(check_address)]
Processes = Annotated[int, Ge(1), BeforeValidator(lambda number: available_cpus() if number is None else number)]
"""How many processes of this machine share the work; null is one for each CPU."""


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Which Ray cluster runs trials; None for the cluster of the surrounding job, or else this machine.

    Attributes:
        max_pending: trials that wait for a place at most.
        max_concurrent: trials at once at most; None for as many as there is room for.
    """

    address: RayAddress | None
    max_pending: Count
    max_concurrent: Count | None

    def __post_init__(self) -> None:
        given_address(self.address)


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where trials run, what each reserves, and where what they write is kept (conf/trials.yaml).

    Attributes:
        store: a bucket, for clusters whose nodes share no disk; None where they share ``output_dir``.

    Raises:
        ResourcesError: trials run on this machine, and it cannot hold one. Its GPUs are counted later: that loads torch.
    """

    output_dir: OutputFolder
    resources: Resources
    faults: FaultTolerance
    ray: RayCluster
    store: str | None = None

    def __post_init__(self) -> None:
        _ = self.bucket
        if not self.is_cluster:
            self.resources.check_machine(gpus=ceil(self.resources.gpu))

    def check_copies(self, cache: CacheSettings) -> None:
        """Raise a ValueError where nodes were to copy caches that lie on disks of their own already."""
        if self.store and self.is_cluster and cache.local:
            raise ValueError(
                f"cache.local: with store= each node keeps the caches on its own disk already; drop cache.local={cache.local}."
            )

    @property
    def is_cluster(self) -> bool:
        return names_cluster(self.ray.address)

    @property
    def bucket(self) -> Store | None:
        return Store(self.store) if self.store else None


@dataclass(frozen=True, kw_only=True)
class Images:
    """What cells see: a data set through a backbone, whose features are cached.

    Attributes:
        root: where the data set lies; None for one that is generated.
        overrides: that say which data it is, for a hint.
    """

    dataset: SegmentationDataset
    backbone: BackboneChoice
    cache: CacheSettings
    root: Annotated[PathText | None, At("dataset.root")] = None
    overrides: Overrides

    def __post_init__(self) -> None:
        check_backbone(self.backbone)
        try:
            check_made(Path(self.cache.folder))
        except ValueError as error:
            raise ValueError(f"cache.folder: {error}") from error

    @property
    def paths(self) -> Mapping[str, str]:
        """The data set's folder and the file of weights, by setting; what is generated or downloaded has none."""
        given = {"dataset.root": self.root, "backbone.weights": self.backbone.weights}
        return {name: path for name, path in given.items() if path not in (None, HUB)}


@dataclass(frozen=True, kw_only=True)
class PriorCell:
    """A cell that good ones are expected to resemble, and how surely; see ``search.deciding.algorithms.prior``.

    Attributes:
        cell: its name in conf/cell/ or a JSON file; None where nothing is expected.
    """

    cell: str | None = None
    strength: Annotated[float, Gt(0)] = 10.0


@dataclass(frozen=True, kw_only=True)
class LatencyChoice:
    """How long cells take, where that counts.

    Attributes:
        table: what `dpc latency` wrote; None where it does not.
        hardware: that the table is to be of; None for this machine's.
    """

    table: Path | None = None
    hardware: str | None = None


@dataclass(frozen=True, kw_only=True)
class Deciding:
    """Which cells are proposed, what they score and which trials continue: what a search's fingerprint holds of its settings.

    Attributes:
        first: names or files of cells that are scored before any other.
        prior: near which cells are proposed, too.
    """

    space: CellSpace
    algorithm: Algorithm
    scheduler: Scheduler
    proxy: ProxySettings
    budget: Budget
    trials: int
    seed: Seed
    deterministic: bool
    window: Count
    first: Sequence[str] = ()
    prior: PriorCell = PriorCell()
    latency: LatencyChoice = LatencyChoice()

    def __post_init__(self) -> None:
        self._plan(FeatureShape(1, 1, 1))  # says what is wrong

    def plan(self, features: FeatureShape) -> Plan:
        """What is searched, and how, where cells read ``features``.

        Raises:
            UserError: the table of latencies is of other maps.
        """
        if self.timed:
            self.timed.check_maps(features, self.proxy.cell.filters)
        return self._plan(features)

    def _plan(self, features: FeatureShape) -> Plan:
        cost_of = cost_with(self.timed, features, self.proxy.cell.filters)
        check_latency(self.budget, self.algorithm, cost_of, self.space)
        return Plan(
            self.space,
            self.algorithm if self.expected is None else NearPrior(self.algorithm, self.expected),
            self.scheduler,
            list(self.proxy.rungs),
            self.trials,
            self.seed,
            cost_of=cost_of,
            budget=self.budget,
            window=self.window if self.deterministic else None,
            first=self.first_cells,
        )

    @cached_property
    def first_cells(self) -> Sequence[CellSpec]:
        """Raises a CellError where one cannot be read."""
        return [read_trusted(name, self.space, "first") for name in self.first]

    @cached_property
    def timed(self) -> LatencyTable | None:
        """Raises a UserError where the table cannot be read."""
        return LatencyTable.read(self.latency.table) if self.latency.table else None

    @cached_property
    def expected(self) -> Prior | None:
        """The prior cell, if one is chosen. Raises a CellError where it cannot be read, or is outside the space."""
        if self.prior.cell is None:
            return None
        expected = Prior(read_trusted(self.prior.cell, self.space, "prior.cell"), self.prior.strength)
        expected.check(self.space)
        return expected

    def fingerprint(self, config: Config) -> dict[str, Any]:
        """The settings that must be the same for a search to resume; of files, what they hold, since the files may change."""
        decided = config.plain(*DECIDING)
        if isinstance(self.algorithm, Listed):
            cells = [cell.digest for cell in self.algorithm.cells]
            decided["algorithm"] = {"kind": decided["algorithm"]["kind"], "cells": cells}
        first = {"first": [cell.digest for cell in self.first_cells]} if self.first else {}
        prior = {"prior": self.expected.recorded} if self.expected else {}
        latency = {"latency": self.timed.recorded} if self.timed else {}
        return {**decided, **first, **prior, **latency}


def read_trusted(name: str, space: CellSpace, setting: str) -> CellSpec:
    """A cell that somebody knows already, by its name or file.

    Raises:
        CellError: there is none, or it has operators that ``space`` does not know.
    """
    try:
        return CellSpec.read(cell_file(name, setting), space.operator_kinds)
    except CellError as error:
        raise CellError(f"{setting}: {str(error).removeprefix(f'{setting}: ')}") from error


DECIDING = ("space", "algorithm", "scheduler", "budget", "proxy", "seed", "deterministic", "window")
"""The settings of ``Deciding`` that a search's fingerprint records; it may continue to more trials."""
DECIDED = (*DECIDING, "first", "prior", "latency")
"""All that ``Deciding`` gives to a fingerprint: with what the files hold that some settings name."""


def search_named(config: Config, key: str, operators: tuple[type[Operator], ...]) -> LoadedSearch:
    """The search in ``output_dir`` that the setting ``key`` names.

    Raises:
        JournalError: there is none, or its journal is damaged.
    """
    return open_search(config.value("output_dir", Path) / config.value(key, FolderName), operators, key)
