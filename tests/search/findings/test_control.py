"""The uniform samples of a search by its default algorithm, told from its mutants and compared with them."""

from random import Random
from typing import ClassVar

import pytest

from models.cost import CellCost
from search.deciding.algorithms.base import proposal_seed
from search.deciding.algorithms.near_best import NearBest
from search.deciding.outcomes import Finished
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha, NoStopping
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.findings.control import control
from search.findings.estimates import welch_difference
from search.journal.events import SearchOpened
from search.journal.record import SearchRecord
from search.journal.study import Study
from training.score import RungScore

SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)


class Unwritten:
    def append(self, *events):
        """A test keeps no journal."""


class Watched(NearBest):
    """Notes which of its proposals were uniform samples."""

    drawn: ClassVar[list] = []

    def propose(self, space, finished, pending, rng):
        uniform = []
        watched = _Watching(space.num_branches, space.operators, uniform)
        for cell in super().propose(watched, finished, pending, rng):
            self.drawn.append(any(cell is sample for sample in uniform))
            yield cell


class _Watching(CellSpace):
    def __init__(self, branches, operators, drawn):
        super().__init__(branches, operators)
        object.__setattr__(self, "drawn", drawn)

    def sample(self, rng):
        self.drawn.append(super().sample(rng))
        return self.drawn[-1]


def searched(trials, score, scheduler=NoStopping(), first=()):  # noqa: B008
    """A search one trial at a time."""
    Watched.drawn.clear()
    plan = Plan(
        SPACE, Watched(near_best=0.7), scheduler, (10, 20), trials, 3, cost_of=lambda cell: CellCost(1, 1, 1, 1), first=first
    )
    study = Study(Unwritten(), SearchRecord(), plan, SearchOpened("test", {"first": [cell.digest for cell in first]}, {}, 0.0))
    while (proposed := study.propose()) is not None:
        for rung in (1, 2):
            if not study.reached(proposed.trial, RungScore(rung, 10 * rung, score(proposed.cell), 1.0, 1.0)):
                break
    return study.record


def pointwise(cell):
    """The fewer pooling branches the better."""
    return 0.9 - 0.1 * sum("pool" in str(branch) for branch in cell.branches) + 1e-4 * (int(cell.digest, 16) % 100)


@pytest.mark.parametrize("scheduler", [NoStopping(), Asha(10)], ids=["none", "asha"])
def test_uniform_samples_are_told_from_mutants_and_mutants_of_a_landscape_score_more(scheduler):
    found = control(searched(80, pointwise, scheduler), SPACE, 0.7, 3)
    assert (found.uniform.count, found.mutants.count) == (sum(Watched.drawn), 80 - sum(Watched.drawn))
    assert found.rung == (1 if scheduler != NoStopping() else 2)
    assert found.difference.low > 0
    assert found.text().startswith(f"Its own control: {found.mutants.count} mutants score ")


def test_where_scores_are_luck_the_interval_holds_no_difference():
    found = control(searched(80, lambda cell: (int(cell.digest, 16) % 1000) / 1000), SPACE, 0.7, 3)
    assert found.difference.low < 0 < found.difference.high


def test_cells_that_somebody_chose_are_no_mutants():
    rng = Random(5)
    first = [SPACE.sample(rng).canonical() for _ in range(15)]
    good = {cell.digest for cell in first}
    found = control(
        searched(80, lambda cell: 0.9 if cell.digest in good else (int(cell.digest, 16) % 1000) / 2000, first=first),
        SPACE,
        0.7,
        3,
    )
    assert found.mutants.count + found.uniform.count == 80 - len(good)
    assert found.difference.low < 0 < found.difference.high


def test_a_search_that_has_hardly_begun_has_no_control():
    assert control(searched(2, pointwise), SPACE, 0.7, 3) is None
    assert control(SearchRecord(), SPACE, 0.7, 3) is None


def test_the_first_proposals_are_uniform_as_nothing_is_known_yet():
    first = next(NearBest().propose(SPACE, Finished(), (), Random(proposal_seed(3, 0))))
    assert first == SPACE.sample(Random(proposal_seed(3, 0)))


def test_welchs_interval_holds_a_difference_of_nothing_about_as_often_as_it_says():
    rng = Random(0)
    fits = [welch_difference([rng.gauss(0, 1) for _ in range(6)], [rng.gauss(0, 3) for _ in range(20)]) for _ in range(600)]
    assert 0.93 < sum(fit.low <= 0 <= fit.high for fit in fits) / 600 < 0.97
    with pytest.raises(ValueError, match="at least two numbers of either are needed, got 1 and 2"):
        welch_difference([1.0], [1.0, 2.0])
