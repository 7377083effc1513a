"""``dpc simulate``: ways to search, compared without training."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean

import numpy as np
from rich.console import Console

from data.system.files import write_csv, write_text
from search.findings.estimates import Estimate, mean, paired_difference, rank_correlation, within_sd
from search.session.hints import from_here
from search.settings.simulate import SimulateSettings
from search.simulation.compare import Result, compare, top_quality
from search.simulation.engine import Table
from search.simulation.landscape import Landscape
from search.simulation.recorded import RecordedTable
from search.simulation.surrogate import SurrogateTable
from search.views.console import plain_console, print_table, table_of
from search.views.figures.simulation import draw_simulation
from search.views.progress_bar import progress_bar
from search.wording import counted, percent

CURVE_POINTS = 200
HEADER = ("algorithm", "scheduler", "mIoU", "difference", "clock", "hours", "trials to", "hours to", "reached")
_ESTIMATES = ("miou", "miou_low", "miou_high", "difference", "difference_low", "difference_high")
_REACHED = ("trials_to", "hours_to", "reached", "reached_low", "reached_high")
COLUMNS = ("algorithm", "scheduler", *_ESTIMATES, "clock_hours", "hours", *_REACHED)


@dataclass(frozen=True)
class Searched:
    """What is searched, and how good is good.

    Attributes:
        goals: of each table, the quality until which a search is timed; ``goal_name`` says what has it.
        scores: what the scores are, in a sentence for a person.
    """

    tables: Sequence[Table]
    goals: Sequence[float]
    goal_name: str
    title: str
    scores: str


def run(settings: SimulateSettings) -> int:
    """Search landscapes, or the table of a recorded search, in every way that was asked for."""
    console = plain_console()
    searched = _recorded(settings, settings.table) if settings.table else _landscapes(settings)
    with progress_bar(console, "simulated searches") as progress:
        results = compare(
            searched.tables,
            settings.contenders,
            workers=settings.workers,
            seeds=settings.searches,
            processes=settings.processes,
            driver_s=settings.driver_s,
            trouble=settings.trouble,
            reranking=settings.rerank,
            progress=progress,
        )
    _report(results, searched, settings, console)
    return 0


def _landscapes(settings: SimulateSettings) -> Searched:
    plan, first, share = settings.plan, settings.landscape, settings.top_share
    tables = [
        Landscape(replace(first, seed=first.seed + number), plan.space, plan.cost_of, tuple(plan.rungs))
        for number in range(settings.landscapes)
    ]
    return Searched(
        tables,
        [top_quality(table, plan, share) for table in tables],
        f"top {100 * share:g} %",
        f"{counted(len(tables), 'landscape')} of {plan.space.num_distinct:,} cells",
        f"made up (landscape.seed={first.seed} and on), mIoU without luck",
    )


def _recorded(settings: SimulateSettings, table: RecordedTable) -> Searched:
    assert settings.journal is not None
    name, count = from_here(settings.journal), len(table.cells)
    scores = f"recorded; of {count} cells {table.num_repeated} have several scores and count with their mean"
    if table.num_repeated < count:
        scores += f", the mIoU of the other {count - table.num_repeated} is their one score with its luck"
    nearest = (
        "; a proposal that was not recorded is answered by the nearest untried cell, which handicaps algorithms that explore"
    )
    if settings.surrogate:
        return _continued(table, f"{name}, continued to every cell", settings.top_share)
    if settings.subsets:
        rng = Random(0)
        tables = [table.subset(settings.subset_cells, rng) for _ in range(settings.subsets)]
        title = f"{settings.subsets} random sets of {settings.subset_cells} cells of {name}"
        goals = [max(map(part.quality, part.cells)) for part in tables]
        return Searched(tables, goals, "its set's best cell", title, scores + nearest)
    goal = max(map(table.quality, table.cells))
    return Searched([table], [goal], "its best cell", f"{count} cells of {name}", scores + nearest)


def _continued(table: RecordedTable, title: str, share: float) -> Searched:
    """By a regression, with what it is good for."""
    noise = within_sd([[trial.rungs[-1].miou for trial in table.recorded(cell)] for cell in table.cells])
    surrogate = SurrogateTable(table, noise or 0.0)
    fitted = rank_correlation(surrogate.recorded, surrogate.predicted)
    error = math.sqrt(fmean((a - b) ** 2 for a, b in zip(surrogate.recorded, surrogate.predicted, strict=True)))
    scores = (
        f"a random forest's, fitted to {len(table.cells)} recorded cells: cross-validated Spearman's rho "
        f"{fitted.text() if fitted else 'not defined'}, error {percent(error)} points; noise between seeds "
        + (f"{percent(noise)} points, from the repeated cells" if noise is not None else "none: no cell was repeated")
    )
    return Searched([surrogate], [max(map(surrogate.quality, table.cells))], "its best recorded cell", title, scores)


def _report(results: Sequence[Result], searched: Searched, settings: SimulateSettings, console: Console) -> None:
    folder, lines = settings.folder, _lines(results, searched.goals)
    title = f"{searched.title}, {counted(settings.workers, 'worker')}"
    print_table(table_of(HEADER, [line.text for line in lines], left=("algorithm", "scheduler"), title=title), console)
    over = f"{len(searched.tables)} tables" if len(searched.tables) > 1 else f"{settings.searches} searches"
    goals = percent(min(searched.goals)) + (" or more" if len(set(searched.goals)) > 1 else "")
    rerank = settings.rerank
    reranked = f", after re-ranking the best {rerank.top} under {counted(rerank.seeds, 'further seed')}" if rerank.top else ""
    console.print(
        f"\nmIoU: of the best cell found{reranked}, mean ± half its 95 % interval (Student's t over {over}); difference: from "
        f"the first line, in pairs; hours: of workers; to: median until as good as {searched.goal_name} ({goals} %); reached: "
        f"the share of searches that got there.\nScores: {searched.scores}.",
        soft_wrap=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "simulation.csv", COLUMNS, [line.numbers for line in lines])
    kept = {"settings": settings.recorded, "scores": searched.scores, "goals": searched.goals, "results": _curves(results)}
    write_text(folder / "simulation.json", json.dumps(kept))
    goal = searched.goals[0] if len(searched.goals) == 1 else None
    draw_simulation(results, folder / "simulation.png", title, goal, searched.goal_name)
    console.print(f"\nresults    {from_here(folder)}\npicture    {from_here(folder / 'simulation.png')}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Line:
    """What the searches of one contender came to.

    Attributes:
        difference: from the first contender; None of that one.
        clock_hours, hours: until their end, and of all workers.
        trials_to, hours_to: medians until the goal; infinite where most never got there.
        reached: the share that got there.
    """

    algorithm: str
    scheduler: str
    miou: Estimate
    difference: Estimate | None
    clock_hours: float
    hours: float
    trials_to: float
    hours_to: float
    reached: Estimate

    @property
    def text(self) -> tuple[str, ...]:
        return (
            self.algorithm,
            self.scheduler,
            _points(self.miou),
            _points(self.difference) if self.difference else "-",
            _hours(self.clock_hours),
            _hours(self.hours),
            f"{self.trials_to:.0f}" if math.isfinite(self.trials_to) else "never",
            _hours(self.hours_to),
            _share(self.reached),
        )

    @property
    def numbers(self) -> tuple[object, ...]:
        """As ``COLUMNS`` names them; what never was is None."""
        until = (value if math.isfinite(value) else None for value in (self.trials_to, self.hours_to))
        difference = self.difference.numbers if self.difference else (None, None, None)
        found = (self.algorithm, self.scheduler, *self.miou.numbers, *difference)
        return *found, self.clock_hours, self.hours, *until, *self.reached.numbers


def _lines(results: Sequence[Result], goals: Sequence[float]) -> list[_Line]:
    lines = []
    first = results[0].independent(lambda run: run.result)
    for number, result in enumerate(results):
        reached = result.to_reach(goals)
        found = result.independent(lambda run: run.result)
        lines.append(
            _Line(
                algorithm=result.contender.algorithm,
                scheduler=result.contender.scheduler,
                miou=mean(found),
                difference=paired_difference(found, first) if number else None,
                clock_hours=fmean(run.hours[-1] for run in result.runs),
                hours=fmean(run.worker_hours[-1] + run.rerank_hours for run in result.runs),
                trials_to=reached.trials,
                hours_to=reached.worker_hours,
                reached=mean(reached.shares),
            )
        )
    return lines


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}" + ("" if estimate.high is None else f" ± {estimate.high - estimate.value:.2f}")


def _points(estimate: Estimate) -> str:
    """With half of its interval's width."""
    return percent(estimate.value) + ("" if estimate.high is None else f" ± {percent(estimate.high - estimate.value)}")


def _hours(value: float) -> str:
    """A demo's search takes a small part of one."""
    return "never" if math.isinf(value) else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _curves(results: Sequence[Result]) -> list[dict[str, object]]:
    """Every search, at places that are even on a log scale."""
    curves: list[dict[str, object]] = []
    for result in results:
        for table, runs in enumerate(result.by_table):
            for seed, run in enumerate(runs):
                places = np.unique(np.geomspace(1, len(run.quality), CURVE_POINTS).round().astype(int))
                columns = {"worker_hours": run.worker_hours, "hours": run.hours, "quality": run.quality}
                thinned = {name: [values[place - 1] for place in places] for name, values in columns.items()}
                name = {"algorithm": result.contender.algorithm, "scheduler": result.contender.scheduler}
                ended = {"completed": run.completed, "result": run.result, "rerank_hours": run.rerank_hours}
                curves.append({**name, "table": table, "seed": seed, **ended, "trials": places.tolist(), **thinned})
    return curves
