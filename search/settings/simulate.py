"""What ``dpc simulate`` is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from models.cost import FeatureShape
from search.annotations import HERE
from search.config import Config, load
from search.config_errors import ConfigError
from search.deciding.algorithms.uniform import Uniform
from search.deciding.policy import Plan
from search.journal.folder import JOURNAL
from search.journal.lines import read_events
from search.settings.groups import Count, Deciding, Processes
from search.settings.places import FolderName, OutputFolder
from search.simulation.compare import Contender
from search.simulation.engine import Reranking, Trouble
from search.simulation.landscape import LandscapeSettings
from search.simulation.recorded import RecordedTable

CONTROL = "uniform"
"""The algorithm that every comparison has a line of; on a recorded table it is a random order."""


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """Ways to search, and what is searched: a landscape, or the table of a recorded search.

    Attributes:
        name: of the comparison: results of another are not written over.
        driver_s: seconds that the driver needs to start a trial or to answer a score.
        trouble: what befalls trials.
        rerank: what follows each search.
        top_share: a search of a landscape is timed until its best cell is among so many.
        seeds: searches of each table; None for as many as make an interval.
        journal: of the recorded search, and ``table`` what it says; None for landscapes.
        surrogate: whether a regression continues the table to all cells.
        subsets: random parts of the table, of ``subset_cells`` each, which are searched in its place; None for the whole.
        recorded: settings that the results are kept with.
    """

    name: FolderName
    output_dir: OutputFolder
    workers: Count
    seeds: Count | None
    processes: Processes
    driver_s: Annotated[float, Ge(0)]
    trouble: Trouble
    rerank: Reranking
    top_share: float
    landscapes: Count
    landscape: LandscapeSettings
    journal: Path | None
    surrogate: bool
    subsets: Count | None
    subset_cells: Annotated[int, Ge(2)]
    table: RecordedTable | None
    plan: Plan
    contenders: Sequence[Contender]
    recorded: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.plan.budget.check(self.plan.space, self.plan.cost_of)
        if not 0 < self.top_share < 1:
            raise ValueError(f"top_share: must be between 0 and 1, got {self.top_share:g}.")
        if self.table is None and (self.surrogate or self.subsets):
            raise ValueError("journal: surrogate=true and subsets= are for a recorded search; add journal=...")
        if self.surrogate and self.subsets:
            raise ValueError("surrogate: it knows every cell, so that subsets= has nothing to draw; leave one of them out.")
        if self.table and self.subsets and self.subset_cells > len(self.table.cells):
            raise ValueError(f"subset_cells: must be at most the journal's {len(self.table.cells)}, got {self.subset_cells}.")

    @property
    def searches(self) -> int:
        """How many searches each contender makes on each landscape or table."""
        return self.seeds or (20 if self.table and not self.subsets else 1)

    @property
    def folder(self) -> Path:
        return self.output_dir / self.name


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A way to search, and what cells read."""

    deciding: Annotated[Deciding, HERE]
    features: FeatureShape

    @property
    def plan(self) -> Plan:
        return self.deciding.plan(self.features)


def read(config: Config) -> SimulateSettings:
    """The settings of ``dpc simulate``. Raises a ConfigError for what is wrong."""
    plan = config.read(_Way).plan
    journal = config.optional("journal", Path)
    table = _recorded(journal, plan) if journal else None
    return config.read(
        SimulateSettings,
        plan=plan,
        table=table,
        contenders=_contenders(config, table.rungs if table else plan.rungs),
        recorded=config.plain(
            *(key for key in config.keys if key not in ("tracking", "dataset", "backbone", "cache", "training"))
        ),
    )


def _contenders(config: Config, rungs: Sequence[int]) -> list[Contender]:
    """Each algorithm with each scheduler, composed as `dpc search` would compose it with these rungs; without and with a prior.

    Uniform search is always among them: what no rival of it shows is that anything was learnt.
    """
    common = [*config.overrides.texts, f"proxy.rungs={list(rungs)}"]  # a scheduler's grace period is that of the first rung
    plain = [*common, "prior.cell=null"]
    schedulers = config.optional("schedulers", list[str]) or [""]
    contenders = [
        _contender(config, overrides, algorithm, scheduler)
        for algorithm in config.optional("algorithms", list[str]) or [""]
        for overrides in ([plain, common] if config.optional("prior.cell", str) else [plain])
        for scheduler in schedulers
    ]
    if not any(isinstance(contender.plan.algorithm, Uniform) for contender in contenders):
        plain = [override for override in plain if not override.lstrip("+~").startswith("algorithm.")]
        contenders += [_contender(config, plain, CONTROL, scheduler) for scheduler in schedulers]
    return contenders


def _contender(config: Config, overrides: Sequence[str], algorithm: str, scheduler: str) -> Contender:
    chosen = [f"{group}={name}" for group, name in (("algorithm", algorithm), ("scheduler", scheduler)) if name]
    way = _way(config, [*overrides, *chosen])
    name = algorithm or type(way.deciding.algorithm).__name__
    return Contender(
        f"{name} with prior" if way.deciding.expected else name, scheduler or type(way.plan.scheduler).__name__, way.plan
    )


def _way(config: Config, overrides: Sequence[str]) -> _Way:
    try:
        return load("simulate", overrides, config.overrides.config_dir).read(_Way)
    except ConfigError as error:
        group, colon, rest = str(error).partition(": no choice")
        raise ConfigError(f"{group}s{colon}{rest}" if colon else str(error)) from error


def _recorded(journal: Path, plan: Plan) -> RecordedTable:
    file = journal / JOURNAL if journal.is_dir() else journal
    if not file.is_file():
        raise ConfigError(f"journal: no file {file}.")
    events, _ = read_events(file, operators=plan.space.operator_kinds)
    table = RecordedTable.of(events, lambda cell: plan.budget.allows(plan.cost_of(cell)))
    outside = [cell for cell in table.cells if cell not in plan.space]
    if outside:
        raise ConfigError(f"space: {len(outside)} of the journal's cells are outside, such as {outside[0]}.")
    return table
