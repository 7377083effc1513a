"""Every algorithm passes one conformance suite."""

from random import Random

import pytest

from search.algorithms.base import Algorithm, SpaceExhaustedError, proposal_seed, propose_new, training_seed
from search.algorithms.near_best import NearBest
from search.algorithms.uniform import Uniform
from search.evaluation import Evaluation, Status
from search.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings

ALGORITHMS = [Uniform(), NearBest()]
SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
TINY = CellSpace(2, {"a": PointwiseConvs(), "b": AtrousConvs([1, 6])})

pytestmark = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)


def landscape(cell):
    """A smooth score with a known optimum: every branch an atrous convolution of rate 6x6, in a chain."""
    hits = sum(branch.operator.to_json().get("rate") == [6, 6] for branch in cell.branches)
    near = sum(abs(r - 6) for branch in cell.branches for r in branch.operator.to_json().get("rate", [21, 21]))
    chained = sum(branch.input == index - 1 for index, branch in enumerate(cell.branches))
    return (10 + hits + chained - near / 20) / 30


def search(algorithm, space, trials, seed=0):
    finished: list[Evaluation] = []
    known: set[str] = set()
    for number in range(trials):
        cell = propose_new(algorithm, space, finished, (), known, proposal_seed(seed, number))
        known.add(cell.digest)
        finished.append(Evaluation(number, cell, Status.COMPLETED, 1, landscape(cell)))
    return finished


def test_it_is_an_algorithm(algorithm):
    assert isinstance(algorithm, Algorithm)


def test_the_same_history_and_seed_propose_the_same_cell(algorithm):
    finished = search(algorithm, SPACE, 20)
    pending = [SPACE.sample(Random(9))]
    first, again = (algorithm.propose(SPACE, finished, pending, Random(0)) for _ in range(2))
    assert first == again


def test_proposals_are_members_of_the_space(algorithm):
    assert all(evaluation.cell in SPACE for evaluation in search(algorithm, SPACE, 50))


def test_no_cell_is_proposed_twice_and_a_tiny_space_is_exhausted_exactly(algorithm):
    finished = search(algorithm, TINY, TINY.num_distinct)
    known = {evaluation.cell.digest for evaluation in finished}
    assert len(known) == TINY.num_distinct
    with pytest.raises(SpaceExhaustedError, match=f"all {TINY.num_distinct} different cells"):
        propose_new(algorithm, TINY, finished, (), known, seed=0)


def test_trials_without_a_score_do_no_harm(algorithm):
    cells = [SPACE.sample(Random(n)) for n in range(4)]
    finished = [
        Evaluation(0, cells[0], Status.FAILED),
        Evaluation(1, cells[1], Status.DIVERGED, 1),
        Evaluation(2, cells[2], Status.STOPPED, 1, 0.5),
    ]
    assert algorithm.propose(SPACE, finished, [cells[3]], Random(0)) in SPACE


def test_a_training_seed_depends_on_the_network_alone(algorithm):
    cell = SPACE.sample(Random(3))
    assert training_seed(7, cell) == training_seed(7, cell.canonical())
    assert training_seed(7, cell) != training_seed(8, cell)


def test_near_best_beats_uniform_on_a_known_landscape(algorithm):
    if not isinstance(algorithm, NearBest):
        pytest.skip("only for algorithms that learn")

    def best(chosen, seed):
        return max(evaluation.miou for evaluation in search(chosen, SPACE, 150, seed))

    wins = sum(best(algorithm, seed) > best(Uniform(), seed) for seed in range(10))
    assert wins >= 9
