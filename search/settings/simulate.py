"""What ``dpc simulate`` is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from models.cost import FeatureShape
from search.config import HERE, Config, ConfigError, load
from search.deciding.policy import Plan
from search.journal.folder import JOURNAL
from search.journal.lines import read_events
from search.settings.groups import Count, Deciding, Processes
from search.settings.places import OutputFolder
from search.simulation.compare import Contender
from search.simulation.engine import Trouble
from search.simulation.landscape import LandscapeSettings
from search.simulation.recorded import Nearest, RecordedTable


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """Ways to search, and what is searched: a landscape, or the table of a recorded search.

    Attributes:
        driver_s: seconds that the driver needs to start a trial or to answer a score.
        trouble: what befalls trials.
        top_share: a search of the landscape is timed until its best cell is among so many.
        journal: of the recorded search, and ``table`` what it says; None for the landscape.
        recorded: settings that the results are kept with.
    """

    output_dir: OutputFolder
    workers: Count
    seeds: Count
    processes: Processes
    driver_s: Annotated[float, Ge(0)]
    trouble: Trouble
    top_share: float
    landscape: LandscapeSettings
    journal: Path | None
    table: RecordedTable | None
    plan: Plan
    contenders: Sequence[Contender]
    recorded: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.plan.budget.check(self.plan.space, self.plan.cost_of)
        if not 0 < self.top_share < 1:
            raise ValueError(f"top_share: must be between 0 and 1, got {self.top_share:g}.")

    @property
    def folder(self) -> Path:
        return self.output_dir / "simulation"


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A way to search, and what cells read."""

    deciding: Annotated[Deciding, HERE]
    features: FeatureShape

    @property
    def plan(self) -> Plan:
        return self.deciding.plan(self.features)


def read(config: Config) -> SimulateSettings:
    """Raises a ConfigError for what is wrong."""
    plan = config.read(_Way).plan
    journal = config.optional("journal", Path)
    table = _recorded(journal, plan) if journal else None
    contenders = _contenders(config, table.rungs if table else plan.rungs)
    return config.read(
        SimulateSettings,
        plan=plan,
        table=table,
        contenders=[_on_recorded(contender, table) for contender in contenders] if table else contenders,
        recorded=config.plain(
            *(key for key in config.keys if key not in ("tracking", "dataset", "backbone", "cache", "training"))
        ),
    )


def _contenders(config: Config, rungs: Sequence[int]) -> list[Contender]:
    """Each algorithm with each scheduler, composed as `dpc search` would compose it with these rungs."""
    contenders = []
    common = [*config.overrides, f"proxy.rungs={list(rungs)}"]  # a scheduler's grace period is that of the first rung
    for algorithm in config.optional("algorithms", list[str]) or [""]:
        for scheduler in config.optional("schedulers", list[str]) or [""]:
            chosen = [f"{group}={name}" for group, name in (("algorithm", algorithm), ("scheduler", scheduler)) if name]
            plan = load("simulate", [*common, *chosen], config.config_dir).read(_Way).plan
            name, other = algorithm or type(plan.algorithm).__name__, scheduler or type(plan.scheduler).__name__
            contenders.append(Contender(name, other, plan))
    return contenders


def _recorded(journal: Path, plan: Plan) -> RecordedTable:
    file = journal / JOURNAL if journal.is_dir() else journal
    if not file.is_file():
        raise ConfigError(f"journal: no file {file}.")
    events, _ = read_events(file, operators=plan.space.operator_kinds)
    table = RecordedTable(events, lambda cell: plan.budget.allows(plan.cost_of(cell)))
    outside = [cell for cell in table.cells if cell not in plan.space]
    if outside:
        raise ConfigError(f"space: {len(outside)} of the journal's cells are outside, such as {outside[0]}.")
    return table


def _on_recorded(contender: Contender, table: RecordedTable) -> Contender:
    plan = replace(
        contender.plan,
        algorithm=Nearest(contender.plan.algorithm, table.cells),
        trials=min(contender.plan.trials, len(table.cells)),
    )
    return replace(contender, plan=plan)
