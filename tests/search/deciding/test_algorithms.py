"""Every algorithm passes one conformance suite."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby, islice
from random import Random

import pytest

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.conf_files import CONF
from search.config import load
from search.deciding.algorithms import base, tpe
from search.deciding.algorithms.base import Algorithm, SpaceExhaustedError, proposal_seed, propose_new, training_seed
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.algorithms.listed import Listed
from search.deciding.algorithms.local_search import LocalSearch
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.pareto import Pareto, _fronts, pareto_front
from search.deciding.algorithms.predictor import Predictor
from search.deciding.algorithms.tpe import Tpe
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Evaluation, Finished, Status, ranked
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings

ALGORITHMS = [
    Uniform(),
    NearBest(),
    RegularizedEvolution(population_size=10, sample_size=5),
    LocalSearch(num_initial=10),
    Tpe(num_initial=10),
    Pareto(population_size=10),
    Predictor(num_initial=10, refit_every=5),
]
SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
TINY = CellSpace(2, {"a": PointwiseConvs(), "b": AtrousConvs([1, 6])})

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)


def landscape(cell):
    """A smooth score with a known optimum: every branch an atrous convolution of rate 6x6, in a chain."""
    hits = sum(branch.operator.to_json().get("rate") == [6, 6] for branch in cell.branches)
    near = sum(abs(r - 6) for branch in cell.branches for r in branch.operator.to_json().get("rate", [21, 21]))
    chained = sum(branch.input == index - 1 for index, branch in enumerate(cell.branches))
    return (10 + hits + chained - near / 20) / 30


def cost(cell):
    """Wide rates are dear, so that the best cell and the cheapest differ."""
    return sum(sum(branch.operator.to_json().get("rate", [1, 1])) for branch in cell.branches)


def search(algorithm, space, trials, seed=0, allows=lambda cell: True):
    """Trials one after the other; every third is stopped at the first of two rungs, where those that go on score higher."""
    finished, known = Finished(), set()
    for number in range(trials):
        cell = propose_new(algorithm, space, finished, (), known, proposal_seed(seed, number), allows)
        known.add(cell.digest)
        miou = landscape(cell)
        status, mious = (Status.STOPPED, (miou / 2,)) if number % 3 == 2 else (Status.COMPLETED, (1 - miou / 2, miou))
        finished.add(Evaluation(number, cell, status, mious, cost(cell), cost(cell)))
    return finished


def best_of(algorithm, seed, trials):
    return max(landscape(evaluation.cell) for evaluation in search(algorithm, SPACE, trials, seed))


@every_algorithm
def test_it_is_an_algorithm(algorithm):
    assert isinstance(algorithm, Algorithm)


@every_algorithm
def test_the_same_history_and_seed_propose_the_same_cell_whatever_was_proposed_in_between(algorithm):
    pending = [SPACE.sample(Random(9)).canonical()]
    one, other = search(algorithm, SPACE, 30), search(algorithm, SPACE, 30, seed=1)
    first = next(algorithm.propose(SPACE, one, pending, Random(0)))
    next(algorithm.propose(SPACE, other, (), Random(1)))
    assert next(algorithm.propose(SPACE, one, pending, Random(0))) == first


def proposals():
    """What each algorithm proposes after one and the same history."""
    finished, pending = search(Uniform(), SPACE, 40), [SPACE.sample(Random(9)).canonical()]
    return [next(algorithm.propose(SPACE, finished, pending, Random(0))).digest for algorithm in ALGORITHMS]


def test_a_fresh_process_proposes_the_same_as_one_that_remembers_another_history():
    other = search(Uniform(), SPACE, 40, seed=1)
    for algorithm in ALGORITHMS:
        next(algorithm.propose(SPACE, other, (), Random(0)))
    code = f"import runpy; print(*runpy.run_path({__file__!r})['proposals']())"
    fresh = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CONF.parent,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert fresh.stdout.split() == proposals()


@every_algorithm
def test_the_order_in_which_results_arrive_does_not_matter(algorithm):
    in_order = list(search(algorithm, SPACE, 40))
    expected = next(algorithm.propose(SPACE, Finished(in_order), (), Random(0)))
    for seed in range(3):
        arrived = Random(seed).sample(in_order, len(in_order))
        assert next(algorithm.propose(SPACE, Finished(arrived), (), Random(0))) == expected


@every_algorithm
def test_proposals_are_members_of_the_space(algorithm):
    assert all(evaluation.cell in SPACE for evaluation in search(algorithm, SPACE, 50))


@every_algorithm
def test_neither_finished_nor_pending_cells_are_proposed_and_a_tiny_space_is_exhausted_exactly(algorithm):
    finished, pending, known = Finished(), [], set()
    for number in range(TINY.num_distinct):
        cell = propose_new(algorithm, TINY, finished, pending, known, proposal_seed(0, number))
        assert cell.digest not in known
        known.add(cell.digest)
        pending.append(cell)
        if number % 3 == 2:
            for offset, ended in enumerate(pending):
                finished.add(Evaluation(number - 2 + offset, ended, Status.COMPLETED, (landscape(ended),)))
            pending = []
    with pytest.raises(SpaceExhaustedError, match=f"all {TINY.num_distinct} different cells"):
        propose_new(algorithm, TINY, finished, pending, known, seed=0)


@every_algorithm
def test_a_budget_is_kept_and_a_tiny_space_within_it_is_exhausted_exactly(algorithm):
    def allows(cell):
        return cost(cell) <= 14

    allowed = {cell.digest for cell in TINY.enumerate() if allows(cell)}
    assert 0 < len(allowed) < TINY.num_distinct
    finished = search(algorithm, TINY, len(allowed), allows=allows)
    assert finished.digests == allowed
    with pytest.raises(SpaceExhaustedError, match=f"all {len(allowed)} cells of the space that are within the budget"):
        propose_new(algorithm, TINY, finished, (), finished.digests, 0, allows)


@every_algorithm
def test_a_space_of_a_single_cell_has_one_proposal(algorithm):
    single = CellSpace(1, {"a": PointwiseConvs()})
    assert len(search(algorithm, single, 1)) == 1
    learnt = Finished(Evaluation(n, single.sample(Random(0)), Status.COMPLETED, (0.5,)) for n in range(40))
    assert next(algorithm.propose(single, learnt, (), Random(0))) in single


@every_algorithm
def test_trials_without_a_score_do_no_harm(algorithm):
    cells = [SPACE.sample(Random(n)).canonical() for n in range(80)]
    without = [Evaluation(n, cell, Status.FAILED if n % 2 else Status.DIVERGED) for n, cell in enumerate(cells[:40])]
    scored = [Evaluation(n, cell, Status.STOPPED, (landscape(cell),)) for n, cell in enumerate(cells[40:], start=40)]
    for evaluations in (without, without + scored):
        assert next(algorithm.propose(SPACE, Finished(evaluations), cells[:2], Random(0))) in SPACE


@every_algorithm
def test_its_settings_are_json(algorithm):
    assert type(algorithm)(**json.loads(json.dumps(asdict(algorithm)))) == algorithm


@every_algorithm
def test_it_has_a_choice_in_conf_with_all_of_its_settings(algorithm):
    names = [path.stem for path in (CONF / "algorithm").glob("*.yaml") if path.stem != "listed"]  # which needs a file
    built = [load("search", [f"algorithm={name}"]).build("algorithm", Algorithm) for name in names]
    (found,) = [one for one in built if type(one) is type(algorithm)]
    assert found == type(algorithm)()


LEARN = {"NearBest": 150, "RegularizedEvolution": 150, "LocalSearch": 150, "Tpe": 80, "Predictor": 80}


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if type(a).__name__ in LEARN], ids=lambda a: type(a).__name__)
def test_one_that_learns_beats_uniform_on_a_known_landscape(algorithm):
    trials = LEARN[type(algorithm).__name__]
    wins = sum(best_of(algorithm, seed, trials) > best_of(Uniform(), seed, trials) for seed in range(6))
    assert wins >= 5


def digests(cells):
    return {cell.digest for cell in cells}


def test_evolution_mutates_the_best_of_the_youngest_and_forgets_the_old():
    cells = [SPACE.sample(Random(n)).canonical() for n in range(20)]
    finished = Finished(Evaluation(n, cell, Status.COMPLETED, (0.97, 0.9 - n / 100)) for n, cell in enumerate(cells[:19]))
    finished.add(Evaluation(19, cells[19], Status.STOPPED, (0.95,)))  # a high score, at a rung where others had more
    evolution = RegularizedEvolution(population_size=10, sample_size=10)
    mutants = digests(next(evolution.propose(SPACE, finished, (), Random(seed))) for seed in range(10))
    assert mutants <= digests(SPACE.neighbours(cells[10]))


def test_local_search_takes_an_untried_neighbour_of_the_best_cell_and_pending_ones_count_as_tried():
    best, other = (TINY.sample(Random(n)) for n in range(2))
    ended, running, *left = TINY.neighbours(best)
    finished = Finished(
        [
            Evaluation(0, best, Status.COMPLETED, (0.95, 0.3)),
            Evaluation(1, other, Status.STOPPED, (0.9,)),
            Evaluation(2, ended, Status.FAILED),
        ]
    )
    steps = digests(next(LocalSearch(num_initial=2).propose(TINY, finished, [running], Random(seed))) for seed in range(100))
    assert steps == digests(left) - {other.digest}


def test_what_is_pending_keeps_tpe_away():
    """Optuna counts a running trial among the bad ones: proposals move away from one that is like all the good ones."""
    finished = search(Uniform(), SPACE, 40)
    tpe = Tpe(num_initial=10)
    seeds = range(10)
    alone = [next(tpe.propose(SPACE, finished, (), Random(seed))) for seed in seeds]
    beside = [
        next(tpe.propose(SPACE, finished, [cell.canonical()] * 20, Random(seed)))
        for seed, cell in zip(seeds, alone, strict=True)
    ]
    assert sum(one.digest != other.digest for one, other in zip(alone, beside, strict=True)) >= 8


def test_tpe_proposes_what_optuna_asks_for_and_its_next_best_candidates_where_that_is_refused(monkeypatch):
    finished, algorithm = search(Uniform(), SPACE, 40), Tpe(num_initial=10, num_candidates=24)
    models, ask = [], tpe.optuna.Study.ask
    monkeypatch.setattr(tpe.optuna.Study, "ask", lambda *given: models.append(given) or ask(*given))
    first, *others = islice(algorithm.propose(SPACE, finished, (), Random(0)), 24)
    assert len(models) == 1
    assert len({cell.digest for cell in others}) > 12
    assert all(cell in SPACE for cell in others)
    monkeypatch.setattr(tpe, "_Sampler", tpe.TPESampler)
    assert next(algorithm.propose(SPACE, finished, (), Random(0))) == first


def test_a_front_of_the_pareto_search_is_thinned_where_it_is_crowded():
    costs = [0, 1, 2, 3, 50, 100]
    front = [
        Evaluation(n, SPACE.sample(Random(n)), Status.COMPLETED, (0.1 + cost / 200,), madds=cost)
        for n, cost in enumerate(costs)
    ]
    assert [one.madds for one in Pareto(population_size=4)._population(ranked(front))] == [0, 100, 50, 3]


def test_a_child_of_the_pareto_search_takes_branches_from_both_parents():
    parents = [CellSpec((Branch(BACKBONE, AtrousConv((rate, rate))),) * 5) for rate in (1, 3, 6, 9)]
    finished = Finished(Evaluation(n, cell, Status.COMPLETED, (0.5 + n / 10,), madds=n) for n, cell in enumerate(parents))
    pareto = Pareto(population_size=4, mutation=0)
    children = [next(pareto.propose(SPACE, finished, (), Random(seed))) for seed in range(20)]
    assert any(sum(child.branches.count(cell.branches[0]) >= 2 for cell in parents) == 2 for child in children)


def hypervolume(front, dearest):
    """The area that a front dominates, up to the dearest cost."""
    ends = [*(evaluation.madds for evaluation in front[1:]), dearest]
    return sum(max(end - one.madds, 0) * one.miou for one, end in zip(front, ends, strict=True))


def test_the_pareto_search_finds_a_better_front_than_uniform_and_better_cells_than_the_cheapest():
    wins = 0
    for seed in range(6):
        fronts = []
        for algorithm in (Pareto(population_size=30), Uniform()):
            finished = [
                replace(one, status=Status.COMPLETED, mious=(landscape(one.cell),))
                for one in search(algorithm, SPACE, 200, seed)
            ]
            fronts.append(hypervolume(pareto_front(finished), 100))
        wins += fronts[0] > fronts[1]
    assert wins >= 5


@pytest.mark.parametrize("seed", range(20))
def test_fronts_are_those_of_the_definition(seed):
    rng = Random(seed)
    cell = SPACE.sample(rng)
    evaluations = [
        Evaluation(
            n, cell, Status.COMPLETED, tuple(rng.randint(0, 5) / 5 for _ in range(rng.randint(1, 2))), madds=rng.randint(0, 9)
        )
        for n in range(60)
    ]

    ordered = ranked(evaluations)
    runs = [list(run) for _, run in groupby(ordered, key=lambda one: (len(one.mious), one.mious[-1]))]
    levels = {one.trial: level for level, run in enumerate(runs) for one in run}

    def betters(one, other):
        """Dominates it, or is its equal and older."""
        level, other_level = levels[one.trial], levels[other.trial]
        is_equal = level == other_level and one.madds == other.madds
        return (one.trial < other.trial) if is_equal else (level <= other_level and one.madds <= other.madds)

    left, expected = evaluations, []
    while left:
        front = [one for one in left if not any(betters(other, one) for other in left if other is not one)]
        expected.append({one.trial for one in front})
        left = [one for one in left if one not in front]
    assert [{one.trial for one in front} for front in _fronts(ordered, "madds")] == expected
    assert {one.trial for one in pareto_front(evaluations)} == expected[0]


def test_an_excerpt_is_the_best_fifth_and_the_latest_in_order():
    cell = SPACE.sample(Random(0))
    finished = Finished(Evaluation(n, cell, Status.COMPLETED, (1 - n / 100,)) for n in range(100))
    assert [one.trial for one in finished.excerpt(10)] == [0, 1, *range(92, 100)]
    assert [one.trial for one in finished.excerpt(10, before=50)] == [0, 1, *range(42, 50)]
    assert finished.excerpt(200) == list(finished)


def test_a_large_space_without_an_allowed_cell_ends_instead_of_sampling_for_ever():
    with pytest.raises(SpaceExhaustedError, match="20,000 samples in a row were known or over the budget"):
        propose_new(Uniform(), SPACE, Finished(), (), set(), 0, lambda cell: False)


def test_a_budget_that_uniform_samples_never_fit_ends_no_search_while_a_mutant_of_a_known_cell_fits(monkeypatch):
    monkeypatch.setattr(base, "SAMPLES_FIRST", 100)
    begun = [SPACE.sample(Random(0)).canonical()]
    allowed = {cell.digest for cell in SPACE.neighbours(begun[0])}
    drawn = []

    def allows(cell):
        drawn.append(cell)
        return cell.digest in allowed

    for number in range(10):
        known = {cell.digest for cell in begun}
        begun.append(propose_new(Uniform(), SPACE, Finished(), begun, known, number, allows))
    assert {cell.digest for cell in begun[1:]} <= allowed
    assert len(drawn) < 10 * (base.ATTEMPTS + base.SAMPLES_FIRST + 100)


def test_a_large_space_without_an_allowed_mutant_either_ends_and_says_that_those_were_tried(monkeypatch):
    monkeypatch.setattr(base, "SAMPLES", 1_000)
    begun = [SPACE.sample(Random(0))]
    with pytest.raises(
        SpaceExhaustedError, match="1,000 samples in a row, and mutants of known cells in turn, were known or over"
    ):
        propose_new(Uniform(), SPACE, Finished(), begun, set(), 0, lambda cell: False)


def test_a_training_seed_depends_on_the_network_alone():
    cell = SPACE.sample(Random(3))
    assert training_seed(7, cell) == training_seed(7, cell.canonical())
    assert training_seed(7, cell) != training_seed(8, cell)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(NearBest, near_best=2), "algorithm.near_best must be from 0 to 1, got 2"),
        (partial(RegularizedEvolution, population_size=0), "algorithm.population_size must be at least 1, got 0"),
        (partial(RegularizedEvolution, 5, 6), r"algorithm.sample_size must be from 1 to population_size \(5\), got 6"),
        (partial(LocalSearch, num_initial=0), "algorithm.num_initial must be at least 1, got 0"),
        (partial(LocalSearch, breadth=0), "algorithm.breadth must be at least 1, got 0"),
        (partial(Tpe, num_candidates=0), "algorithm.num_candidates must be at least 1, got 0"),
        (partial(Tpe, history=1), "algorithm.history must be at least 10, got 1"),
        (partial(Pareto, cost="time"), "algorithm.cost must be madds, params or latency_ms, got 'time'"),
        (partial(Pareto, population_size=1), "algorithm.population_size must be at least 2, got 1"),
        (partial(Pareto, mutation=2), "algorithm.mutation must be from 0 to 1, got 2"),
        (partial(Predictor, trees=0), "algorithm.trees must be at least 1, got 0"),
        (partial(Predictor, history=19), "algorithm.history must be at least 10 and algorithm.num_initial, 20, got 19"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_listed_cells_over_the_budget_are_passed_over_however_many_they_are_and_none_is_sampled():
    cells = tuple(SPACE.sample(Random(number)).canonical() for number in range(70))
    allowed = {cell.digest for cell in cells[60:]}
    known = set()

    def following(trial):
        cell = propose_new(Listed(cells), SPACE, Finished(), (), known, trial, lambda one: one.digest in allowed)
        known.add(cell.digest)
        return cell

    assert [following(trial) for trial in range(10)] == list(cells[60:])
    with pytest.raises(SpaceExhaustedError, match="all 70 listed cells"):
        following(10)


def test_local_search_goes_on_from_the_next_best_where_a_budget_refuses_the_neighbours_of_the_best():
    cells = [SPACE.sample(Random(number)).canonical() for number in range(20)]
    scored = Finished(Evaluation(number, cell, Status.COMPLETED, (landscape(cell),)) for number, cell in enumerate(cells))
    best, second = (one.cell for one in scored.best(2))
    of_best = {cell.digest for cell in SPACE.neighbours(best)}
    of_second = {cell.digest for cell in SPACE.neighbours(second)} - of_best
    found = propose_new(LocalSearch(), SPACE, scored, (), scored.digests, 7, lambda cell: cell.digest not in of_best)
    assert found.digest in of_second
