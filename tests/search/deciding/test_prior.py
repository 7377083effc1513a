"""A prior cell: proposals near it with any algorithm, which help where it is right and end where it is wrong."""

from dataclasses import replace
from random import Random

import pytest

from data.system.errors import UserError
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.prior import NEAR, NearPrior, Prior, likeness
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Evaluation, Finished, Status
from tests.search.deciding.test_algorithms import ALGORITHMS, SPACE, TINY, landscape, search

WIDE = AtrousConv((6, 6))
GOOD = CellSpec(
    (Branch(BACKBONE, WIDE), Branch(0, WIDE), Branch(1, WIDE), Branch(BACKBONE, Conv1x1()), Branch(3, AtrousConv((1, 21))))
)
"""Three branches of the best cell, and two that are none of it."""
BAD = CellSpec((Branch(BACKBONE, PyramidPooling((8, 8))),) * 5)


def best_of(algorithm, seed, trials):
    return max(landscape(one.cell) for one in search(algorithm, SPACE, trials, seed))


def near_prior(cell=GOOD, strength=10.0, algorithm=NearBest()):  # noqa: B008 - a frozen value
    return NearPrior(algorithm, Prior(cell, strength))


def evaluated(cells, mious):
    return Finished(
        Evaluation(n, cell, Status.COMPLETED, (miou,)) for n, (cell, miou) in enumerate(zip(cells, mious, strict=True))
    )


def near_and_others(count):
    """As many different cells near the good one as far from it."""
    rng, near, others = Random(0), {}, {}
    while min(len(near), len(others)) < count:
        for cell in (SPACE.sample(rng), SPACE.mutate(GOOD, rng)):
            found = near if likeness(cell, GOOD) >= NEAR else others
            found[cell.digest] = cell
    return [*near.values()][:count], [*others.values()][:count]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)
def test_with_any_algorithm_the_prior_cell_is_first_and_proposals_follow_from_what_is_known_alone(algorithm):
    mixed = near_prior(algorithm=algorithm)
    finished = search(mixed, SPACE, 40)
    assert finished[0].cell == GOOD.canonical()
    assert all(one.cell in SPACE for one in finished)
    assert sum(likeness(one.cell, GOOD) >= NEAR for one in finished) >= 5
    pending = [SPACE.sample(Random(9)).canonical()]
    arrived = Finished(Random(1).sample(list(finished), 40))
    one, again = (next(mixed.propose(SPACE, known, pending, Random(0))) for known in (finished, arrived))
    assert one == again


def test_a_good_prior_helps_at_any_time_and_most_at_first():
    for trials in (15, 60):
        gains = [best_of(near_prior(), seed, trials) - best_of(NearBest(), seed, trials) for seed in range(6)]
        assert sum(gain > 0 for gain in gains) >= 5


def test_a_bad_prior_is_overcome():
    finished = search(near_prior(BAD), SPACE, 100)
    assert near_prior(BAD).share(finished, 0) < 0.03
    assert sum(likeness(one.cell, BAD) >= NEAR for one in finished) <= 15
    losses = [best_of(NearBest(), seed, 150) - best_of(near_prior(BAD), seed, 150) for seed in range(6)]
    assert sum(losses) / len(losses) < 0.02


def test_its_share_is_that_of_its_strength_among_all_that_was_begun():
    assert near_prior().share(Finished(), 0) == 1.0
    assert near_prior().share(Finished(), 10) == 0.5
    near, others = near_and_others(5)
    won = evaluated([*near, *others], [0.9] * 5 + [0.1] * 5)
    assert near_prior().share(won, 0) == 0.5
    assert near_prior(strength=40).share(won, 0) == 0.8
    assert near_prior().share(won, 960) == 10 / 980
    assert near_prior().share(won, 1000) == 0.0


def test_cells_near_it_that_score_no_better_take_its_share_away():
    near, others = near_and_others(10)
    alike = evaluated([cell for pair in zip(near, others, strict=True) for cell in pair], [0.01 * n for n in range(20)])
    worse = evaluated([*others, *near], [0.9] * 10 + [0.1] * 10)
    better = evaluated([*others, *near], [0.1] * 10 + [0.9] * 10)
    shares = [near_prior(strength=10).share(finished, 0) for finished in (worse, alike, better)]
    assert shares[0] == 0.0
    assert 0.15 < shares[1] < 0.25
    assert shares[2] == 1 / 3


def test_what_another_search_scored_otherwise_is_no_evidence():
    near, others = near_and_others(10)
    inherited = [replace(one, is_comparable=False) for one in evaluated([*others, *near], [0.9] * 10 + [0.1] * 10)]
    assert near_prior().share(Finished(inherited), 0) == 1 / 3


def test_a_whole_space_is_searched_with_it():
    cell = next(TINY.enumerate())
    finished = search(near_prior(cell, 1000.0, Uniform()), TINY, TINY.num_distinct)
    assert len(finished.digests) == TINY.num_distinct


def test_likeness_counts_branches_that_apply_the_same_to_the_same():
    assert likeness(GOOD, GOOD.canonical()) == 1.0
    assert likeness(GOOD, BAD) == 0.0
    assert likeness(GOOD, CellSpec((Branch(BACKBONE, WIDE), Branch(0, WIDE)))) == 0.4


@pytest.mark.parametrize("strength", [0.0, -1.0, float("inf"), float("nan")])
def test_a_strength_is_above_0(strength):
    with pytest.raises(ValueError, match=r"prior\.strength must be above 0"):
        Prior(GOOD, strength)


def test_the_name_of_a_cell_is_no_prior():
    with pytest.raises(ValueError, match=r"prior\.cell must be a CellSpec, got 'aspp'"):
        Prior("aspp")


def test_a_cell_outside_the_space_is_no_prior():
    with pytest.raises(UserError, match=r"prior\.cell: this space has cells of 2 branches, got 5"):
        Prior(GOOD).check(TINY)
