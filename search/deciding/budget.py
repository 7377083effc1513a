"""Hard limits on what a cell may cost: one that costs more is never trained."""

from collections.abc import Callable
from dataclasses import dataclass

from data.system.errors import UserError
from models.cost import CellCost
from models.spec import BACKBONE, Branch, CellSpec
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.pareto import Pareto
from search.deciding.space import CellSpace

CostOf = Callable[[CellSpec], CellCost]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a cell may cost; None is no limit.

    Attributes:
        madds: multiply-adds on one image, as ``models.cost`` counts them in full.
        params: parameters, likewise.
        latency_ms: milliseconds on one image, as a table of ``models.latency`` adds them up.
    """

    madds: float | None = None
    params: float | None = None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if limit <= 0:
                raise ValueError(f"budget.{name} must be above 0, or null for no limit, got {limit:g}.")

    @property
    def limits(self) -> dict[str, float]:
        """What is limited, by name."""
        return {name: limit for name in ("madds", "params", "latency_ms") if (limit := getattr(self, name)) is not None}

    def allows(self, cost: CellCost) -> bool:
        """Whether a cell of this cost may be trained."""
        return all(getattr(cost, name) <= limit for name, limit in self.limits.items())

    def check(self, space: CellSpace, cost_of: CostOf) -> None:
        """Raise a UserError if a limit is below the space's cheapest cell."""
        for name, limit in self.limits.items():
            least = min(getattr(cost_of(cell), name) for cell in _cheap_cells(space))
            if limit < least:
                said = f"the space's cheapest cell has {_written(least)}, got a limit of {_written(limit)}"
                raise UserError(f"budget.{name}: {said}.")


def check_latency(budget: Budget, algorithm: Algorithm, cost_of: CostOf, space: CellSpace) -> None:
    """Raise a UserError if a latency is asked for that ``cost_of`` does not know of every operator."""
    asked = ["budget.latency_ms"] if budget.latency_ms is not None else []
    asked += ["algorithm.cost=latency_ms"] if isinstance(algorithm, Pareto) and algorithm.cost == "latency_ms" else []
    for operator in space.choices if asked else ():
        cell = CellSpec((Branch(BACKBONE, operator), *[Branch(0, operator)] * (space.num_branches - 1)))
        if cost_of(cell).latency_ms is None:
            raise UserError(f"{asked[0]}: needs latency.table=..., which `dpc latency` makes.")


def _written(cost: float) -> str:
    """Millions to the last one, milliseconds to a hundredth."""
    return f"{cost:,.2f}".removesuffix(".00")


def _cheap_cells(space: CellSpace) -> list[CellSpec]:
    """Cells of one operator that read the backbone in all branches, or in the first alone: one of them costs least.

    A branch's cost depends on its operator and on whether it reads the backbone.
    """
    first = [Branch(BACKBONE, operator) for operator in space.choices]
    rest = [Branch(source, operator) for source in (BACKBONE, 0) for operator in space.choices]
    return [CellSpec((one, *[other] * (space.num_branches - 1))) for one in first for other in rest]
