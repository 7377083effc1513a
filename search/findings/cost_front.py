"""What a score costs: the completed cells that none betters at lower cost, and well-known cells beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.spec import CellSpec
from search.deciding.algorithms.pareto import Cost, pareto_front
from search.deciding.budget import CostOf
from search.deciding.outcomes import Evaluation
from search.journal.record import SearchRecord


@dataclass(frozen=True, slots=True)
class Landmark:
    """A well-known cell: its exact costs, and its mIoU only where it was measured as the others were."""

    name: str
    params: int
    madds: int
    miou: float | None = None


@dataclass(frozen=True, slots=True)
class CostFront:
    """Completed cells by mIoU and one cost.

    Attributes:
        completed: all of them; only their scores are comparable.
        front: those that no other one betters in score or cost without being worse in the other, cheapest first.
        scored_on: what gave the scores, as ``SearchRecord`` has it.
    """

    cost: Cost
    completed: Sequence[Evaluation]
    front: Sequence[Evaluation]
    scored_on: str


def cost_front(record: SearchRecord, cost: Cost) -> CostFront:
    """The completed cells of a search and their front."""
    completed = [trial.evaluation() for trial in record.completed()]
    return CostFront(cost, completed, pareto_front(completed, cost), record.scored_on)


def landmarks(
    record: SearchRecord, cells: Mapping[str, CellSpec], cost_of: CostOf, measured: Mapping[str, float | None]
) -> list[Landmark]:
    """The named ``cells``, with the mIoU that the search itself gave those that it completed, else that of ``measured``."""
    mious = {trial.cell.digest: trial.miou for trial in record.completed()}
    found = []
    for name, cell in cells.items():
        miou = measured.get(name)
        cost = cost_of(cell)
        found.append(Landmark(name, cost.params, cost.madds, mious.get(cell.digest, miou)))
    return found
