"""What a seed says: which search is lived, and what goes wrong."""

from dataclasses import dataclass
from random import Random

from models.cost import CellCost
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.algorithms.local_search import LocalSearch
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.uniform import Uniform
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha, MedianStopping, NoStopping, Scheduler
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.running.faults.tolerance import FaultTolerance
from tests.lives.world import Fault

RUNGS = (10, 20, 40)
SPACES = (
    CellSpace(2, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 6])}),
    CellSpace(1, {"atrous": AtrousConvs([1, 3])}),
)
ALGORITHMS: tuple[Algorithm, ...] = (Uniform(), NearBest(), RegularizedEvolution(4, 2), LocalSearch(3))
SCHEDULERS: tuple[Scheduler, ...] = (Asha(10), Asha(10, brackets=2), MedianStopping(10, 2), NoStopping())

KINDS = {
    "the driver is killed": 2000,
    "the driver is killed while it writes": 80,
    "the driver is interrupted": 60,
    "the driver stalls": 2000,
    "the power is cut": 2000,
    "the clock jumps": 2000,
    "the disk is full": 100,
    "a write fails": 100,
    "a sync fails": 100,
    "a worker dies": 400,
    "a worker hangs": 30,
    "a worker is taken for dead": 30,
    "a score is told twice": 30,
    "a node drains": 30,
    "a node goes": 30,
    "Ray ends a worker for its memory": 5,
    "a training diverges": 30,
    "a training fails": 30,
    "a score is 75": 30,
    "a score is not a number": 30,
    "a training is out of memory": 30,
    "a device fails": 30,
    "the store is slow": 150,
    "the store is down": 150,
    "the store's answer is lost": 80,
    "the store lists late": 12,
    "the tracker is slow": 150,
    "the tracker is down": 150,
    "the tracker's answer is lost": 150,
    "the tracker loses a run": 150,
}
"""What may go wrong, and about how often it could in a life."""


@dataclass(frozen=True)
class Drawn:
    """A search, where it runs, and its faults.

    Attributes:
        has_rival: whether a second driver of the search is started, on another machine where there is a store.
        is_fork: whether it begins with the cells of another search.
    """

    plan: Plan
    tolerance: FaultTolerance
    has_store: bool
    has_gpus: bool
    has_rival: bool
    is_fork: bool
    retries_failed: bool
    faults: tuple[Fault, ...]


def draw(seed: int) -> Drawn:
    """The life of this number."""
    rng = Random(f"life {seed}")
    plan = Plan(
        rng.choices(SPACES, (5, 1))[0],
        rng.choice(ALGORITHMS),
        rng.choice(SCHEDULERS),
        RUNGS,
        rng.randint(3, 8),
        seed=seed,
        cost_of=lambda cell: CellCost(1, 2, 3, 4),
        window=rng.choice((None, None, 1, 3)),
    )
    tolerance = FaultTolerance(rng.randint(0, 2), rung_timeout_s=60.0, give_up_after=rng.choice((None, 3)))
    has_store, has_gpus, has_rival = (rng.random() < 0.5 for _ in range(3))
    is_fork, retries_failed = rng.random() < 0.2, rng.random() < 0.3
    kinds = [kind for kind in KINDS if has_store or "the store" not in kind]
    faults = {
        (kind := rng.choice(kinds), round(KINDS[kind] ** rng.random())): rng.random()
        for _ in range(rng.choice((0, 1, 2, 4, 8)))
    }
    drawn = tuple(Fault(kind, nth, extent) for (kind, nth), extent in faults.items())
    return Drawn(plan, tolerance, has_store, has_gpus, has_rival, is_fork, retries_failed, drawn)
