"""What a proposal costs the driver, which waits for it: every algorithm after 28,000 trials of the paper's space.

    python benchmarks/bench_proposals.py [--trials N]

Each with and without a budget that refuses twenty cells in a row; the baseline is a uniform sample.
"""

import argparse
import time
from random import Random
from statistics import median

from paper_space import SPACE
from result_file import save

from search.deciding.algorithms.base import Algorithm, proposal_seed, propose_new
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.algorithms.local_search import LocalSearch
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.pareto import Pareto
from search.deciding.algorithms.predictor import Predictor
from search.deciding.algorithms.tpe import Tpe
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Evaluation, Finished, Status

ALGORITHMS: tuple[Algorithm, ...] = (
    Uniform(),
    NearBest(),
    RegularizedEvolution(),
    LocalSearch(),
    Pareto(),
    Predictor(),
    Tpe(),
)
UNDER_WAY, REFUSED, REPEATS = 32, 20, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=28_000)
    trials = parser.parse_args().trials
    evaluations = history(trials)
    print(f"{trials:,} trials, {UNDER_WAY} under way; CPU milliseconds a proposal, and with {REFUSED} refusals")
    figures, uniform_ms = {}, 0.0
    for algorithm in ALGORITHMS:
        finished = Finished(evaluations[:-REPEATS])
        alone, refused = [], []
        for evaluation in evaluations[-REPEATS:]:  # as in a search, each proposal sees a further result
            finished.add(evaluation)
            alone.append(proposal_ms(algorithm, finished, 0))
            refused.append(proposal_ms(algorithm, finished, REFUSED))
        name = type(algorithm).__name__
        uniform_ms = uniform_ms or median(alone)
        print(f"{name:<22}{median(alone):>8.1f}{median(refused):>8.1f}{median(refused) / uniform_ms:>8.0f}x uniform")
        figures |= {f"{name}, ms": median(alone), f"{name} with refusals, ms": median(refused)}
    save(__file__, figures)


def history(trials: int) -> list[Evaluation]:
    """Trials as early stopping leaves them: half end at each of five rungs."""
    rng, evaluations = Random(0), []
    for number in range(trials):
        worth, rungs = rng.random(), min(1 + int(rng.expovariate(0.7)), 5)
        mious = tuple(min(max(worth / 2 + rng.gauss(0.2, 0.05), 0.0), 1.0) for _ in range(rungs))
        costs = rng.randint(1, 10**6), rng.randint(1, 10**9)
        cell = SPACE.sample(rng).canonical()
        evaluations.append(Evaluation(number, cell, Status.COMPLETED if rungs == 5 else Status.STOPPED, mious, *costs))
    return evaluations


def proposal_ms(algorithm: Algorithm, finished: Finished, refusals: int) -> float:
    """CPU time of one proposal whose first ``refusals`` new cells are over the budget."""
    pending = [SPACE.sample(Random(place)).canonical() for place in range(UNDER_WAY)]
    left = iter(range(refusals))
    started_s = time.process_time()
    propose_new(
        algorithm,
        SPACE,
        finished,
        pending,
        finished.digests,
        proposal_seed(0, len(finished)),
        lambda cell: next(left, None) is None,
    )
    return 1e3 * (time.process_time() - started_s)


if __name__ == "__main__":
    main()
