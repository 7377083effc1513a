"""The figures of a search: for its page, and as files for a paper or a talk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from models.cost import cell_cost
from search.deciding.algorithms.pareto import Cost
from search.deciding.outcomes import Status
from search.deciding.space import CellSpace
from search.findings.contributions import model_contributions
from search.findings.control import Control
from search.findings.cost_front import Landmark, cost_front, landmarks
from search.findings.course import RungCourse
from search.findings.kinship import ancestry
from search.findings.leaderboard import is_timed
from search.findings.operator_usage import operator_usage
from search.findings.signature import signature
from search.findings.training_course import read_course
from search.findings.two_rankings import reranked
from search.findings.what_mattered import what_mattered
from search.journal.folder import JOURNAL, LoadedSearch
from search.journal.lines import read_events
from search.journal.record import SearchRecord, TrialRecord
from search.settings.report import ReportSettings
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.contributions import draw_contributions
from search.views.figures.cost_front import draw_cost_front
from search.views.figures.kinship import draw_ancestry
from search.views.figures.operator_usage import draw_operator_usage
from search.views.figures.progress import draw_progress
from search.views.figures.scores import draw_scores
from search.views.figures.signature import draw_signature
from search.views.figures.training_course import draw_training
from search.views.figures.two_rankings import Rescored, draw_two_rankings
from search.views.figures.what_mattered import draw_what_mattered
from search.views.report import readings
from search.wording import percent

DRAWN = 3
"""Cells from the top of the leaderboard that have diagrams."""
WITHOUT_PARENTS = ("Uniform", "Listed", "listed_in")
"""Algorithms that derive no cell from another."""


@dataclass(frozen=True)
class Drawing:
    """A figure before it has a size.

    Attributes:
        section: of the page.
        name: of its file.
        draw: called with a path and ``width=``, and where ``is_linked`` with ``links=``.
        reading: what it shows, in a sentence.
        is_linked: whether its marks can lead to rows of the leaderboard.
    """

    section: str
    name: str
    title: str
    draw: Callable[..., None]
    reading: str = ""
    is_linked: bool = field(default=False, kw_only=True)


def drawings(
    settings: ReportSettings,
    search: LoadedSearch,
    ranked: Sequence[TrialRecord],
    rungs: Sequence[RungCourse],
    own: Control | None = None,
) -> Iterator[Drawing]:
    """All that there is to draw of a search, whatever its state.

    Args:
        ranked: the leaderboard's cells that have a score.
        own: the search's own control.
    """
    record, folder, space = search.record, settings.folder, settings.space
    known = _landmarks(settings, search)
    yield from _signature(record, known)
    yield Drawing("progress", "progress", "Progress", partial(draw_progress, record), readings.of_progress(record, own))
    if ranked:
        yield Drawing(
            "scores", "scores", "Scores at each rung", partial(draw_scores, record), readings.of_scores(record, rungs)
        )
    yield from _cells(ranked)
    yield from _ancestry(search)
    yield from _reranked(folder, ranked, space)
    yield from _costs(record, known)
    yield from _choices(record)
    yield from _operators(record, settings.good_share)
    yield from _trained(folder, ranked)
    yield from _contributions(folder, ranked, space)


def _signature(record: SearchRecord, known: Sequence[Landmark]) -> Iterator[Drawing]:
    found = signature(record, known)
    if found.completed or found.stopped:
        reading = readings.of_costs(cost_front(record, "madds"), known)
        yield Drawing("signature", "search", "mIoU against cost", partial(draw_signature, found), reading, is_linked=True)


def _cells(ranked: Sequence[TrialRecord]) -> Iterator[Drawing]:
    """The first, and the last that completed."""
    completed = [trial for trial in ranked[DRAWN:] if trial.status == Status.COMPLETED]
    named = [(f"Rank {rank}", f"cell_rank_{rank}", trial) for rank, trial in enumerate(ranked[:DRAWN], start=1)]
    named += [("The worst that completed", "cell_worst", trial) for trial in completed[-1:]]
    for title, name, trial in named:
        yield Drawing("cells", name, f"{title}: {percent(trial.miou)} %", partial(draw_cell, trial.cell), f"{trial.cell}")


def _reranked(folder: Path, ranked: Sequence[TrialRecord], space: CellSpace) -> Iterator[Drawing]:
    """A picture for each re-ranking of the search's cells, from its journals; a seed that is not done waits for its end."""
    for label in sorted({path.parents[1] for path in folder.glob(f"*/seed-*/{JOURNAL}")}):
        journals = sorted(label.glob(f"seed-*/{JOURNAL}"))
        seeds = [SearchRecord(read_events(path, operators=space.operator_kinds)[0]) for path in journals]
        seeds = [seed for seed in seeds if seed.closed] or seeds
        trained = {trial.cell.digest for seed in seeds for trial in seed.finished}
        chosen = [(rank, trial) for rank, trial in enumerate(ranked, start=1) if trial.cell.digest in trained]
        ranking = reranked(chosen, seeds)
        if cells := Rescored.of(ranking):
            draw, reading = partial(draw_two_rankings, cells), readings.of_reranked(ranking)
            yield Drawing("reranked", f"reranked_{label.name}", "Ranked again, end to end", draw, reading)


def _costs(record: SearchRecord, known: Sequence[Landmark]) -> Iterator[Drawing]:
    costs: list[tuple[Cost, str]] = [("params", "parameters")]
    if is_timed(record):
        costs.append(("latency_ms", "latency"))
    for cost, name in costs:
        front = cost_front(record, cost)
        if front.completed:
            reading = f"{len(front.front)} of {len(front.completed):,} completed cells are on the front of mIoU and {name}."
            yield Drawing("costs", name, f"mIoU against {name}", partial(draw_cost_front, front, known), reading)


def _landmarks(settings: ReportSettings, search: LoadedSearch) -> list[Landmark]:
    """Well-known cells on the search's features; none where its journal does not say what those were."""
    shape, filters = search.recorded.features, search.recorded.filters
    if shape is None or filters is None:
        return []
    cost_of = partial(cell_cost, features=shape, filters=filters)
    return landmarks(search.record, settings.landmark_cells, cost_of, settings.landmarks)


def _choices(record: SearchRecord) -> Iterator[Drawing]:
    if found := what_mattered(record):
        yield Drawing("choices", "what_mattered", "What mattered", partial(draw_what_mattered, found), found.text())


def _operators(record: SearchRecord, good_share: float) -> Iterator[Drawing]:
    usage = operator_usage(record, good_share)
    if usage is not None and usage.is_telling:
        draw = partial(draw_operator_usage, usage)
        yield Drawing("operators", "operators", "Operators of good cells", draw, readings.of_operators(usage))


def _ancestry(search: LoadedSearch) -> Iterator[Drawing]:
    """None of a search that derives no cell from another."""
    line = [] if search.recorded.algorithm in WITHOUT_PARENTS else ancestry(search.record)
    if len(line) > 1:
        reading = readings.of_ancestry(line)
        yield Drawing("ancestry", "ancestry", "How the best came about", partial(draw_ancestry, line), reading)


def _trained(folder: Path, ranked: Sequence[TrialRecord]) -> Iterator[Drawing]:
    """The courses of the best cells that were retrained, or are being."""
    courses = {trial.cell.digest: read_course(folder / f"retrain-{trial.cell.digest}") for trial in ranked}
    for digest, steps in [(digest, steps) for digest, steps in courses.items() if steps][:DRAWN]:
        draw, reading = partial(draw_training, steps), readings.of_training(steps)
        yield Drawing("trained", f"training_{digest}", f"Training of {digest}", draw, reading)


def _contributions(folder: Path, ranked: Sequence[TrialRecord], space: CellSpace) -> Iterator[Drawing]:
    """Those of the best cells that were retrained."""
    models = [folder / f"retrain-{trial.cell.digest}" / "model.safetensors" for trial in ranked]
    for path in [path for path in models if path.is_file()][:DRAWN]:
        found = model_contributions(path, space.operator_kinds)
        name, title = f"branches_{found.cell.digest}", f"Branches of {found.cell.digest}"
        draw = partial(draw_contributions, found)
        yield Drawing("contributions", name, title, draw, readings.of_contributions(found))


def by_section(found: Sequence[Drawing]) -> Mapping[str, Sequence[Drawing]]:
    """As the page shows them."""
    sections: dict[str, list[Drawing]] = {}
    for drawing in found:
        sections.setdefault(drawing.section, []).append(drawing)
    return sections
