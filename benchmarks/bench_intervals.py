"""How often the intervals that this project prints hold the truth, in simulations: the column of docs/statistics.md.

    python benchmarks/bench_intervals.py [--rounds 2000]

Each is meant to hold it in 0.95 of cases; a bootstrap is the baseline of the mean's. Between seeds, scores of a cell have a
standard deviation of 0.006, which eight cells scored twice tell; that of the cells' worth is said in multiples of it.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from math import asin, pi, sqrt
from random import Random
from statistics import fmean

import numpy as np

from search.findings.estimates import (
    Estimate,
    RankCorrelation,
    linear_effects,
    mean,
    rank_correlation,
    welch_difference,
    within_sd,
)
from search.findings.shrinkage import Noise, Shrunk

Draw = Callable[[Random], tuple[Estimate | RankCorrelation, float]]
"""An interval and the truth."""

SD, PAIRS = 0.006, 8
"""Between seeds, and how many cells scored twice it is known from."""
SPREADS: Mapping[str, Callable[[Random], float]] = {
    "below a bound": lambda rng: 0.40 - rng.gammavariate(1.5, 0.02),
    "normal, 0 x noise": lambda rng: 0.37,
    "normal, 1 x noise": lambda rng: rng.gauss(0.37, SD),
    "normal, 2 x noise": lambda rng: rng.gauss(0.37, 2 * SD),
    "normal, 3 x noise": lambda rng: rng.gauss(0.37, 3 * SD),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    for name, draw in draws().items():
        rng = Random(0)
        held = fmean(holds(*draw(rng)) for _ in range(rounds))
        print(f"{name:<60}{held:.2f}", flush=True)


def holds(found: Estimate | RankCorrelation, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def draws() -> dict[str, Draw]:
    """By what is estimated."""
    named: dict[str, Draw] = {}
    for count in (2, 3, 5, 10):
        named[f"mean of {count}"] = partial(of_a_mean, count)
        named[f"mean of {count}, bootstrap"] = partial(of_a_bootstrap, count)
    named["difference of two means, 6 with sd 1 and 20 with sd 3"] = of_a_difference
    for pairs in (8, 20, 50):
        for correlation in (0.0, 0.5, 0.9, 0.95):
            named[f"rho of {pairs} pairs, correlation {correlation:g}"] = partial(of_rho, pairs, correlation)
    named[f"sd between seeds, of {PAIRS} cells scored twice"] = of_noise
    for spread in SPREADS:
        for count in (24, 50, 200):
            named[f"worth of the best of {count}, {spread}"] = partial(of_the_best, count, spread)
    named["effect of a choice, 40 cells, uneven spread"] = of_an_effect
    return named


def of_a_mean(count: int, rng: Random) -> tuple[Estimate, float]:
    return mean([rng.gauss(0.7, 0.1) for _ in range(count)]), 0.7


def of_a_bootstrap(count: int, rng: Random) -> tuple[Estimate, float]:
    """The quantiles of the means of samples with replacement."""
    values = [rng.gauss(0.7, 0.1) for _ in range(count)]
    means = np.mean([rng.choices(values, k=count) for _ in range(400)], axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(fmean(values), float(low), float(high), count), 0.7


def of_a_difference(rng: Random) -> tuple[Estimate, float]:
    return welch_difference([rng.gauss(0, 1) for _ in range(6)], [rng.gauss(0, 3) for _ in range(20)]), 0.0


def of_rho(pairs: int, correlation: float, rng: Random) -> tuple[RankCorrelation, float]:
    """Of two normal variables, whose rho follows from their correlation (Pearson 1907)."""
    first = [rng.gauss(0, 1) for _ in range(pairs)]
    second = [correlation * one + sqrt(1 - correlation**2) * rng.gauss(0, 1) for one in first]
    found = rank_correlation(first, second)
    assert found is not None
    return found, 6 / pi * asin(correlation / 2)


def of_noise(rng: Random) -> tuple[Estimate, float]:
    return measured_noise(rng).estimate, SD


def of_the_best(count: int, spread: str, rng: Random) -> tuple[Estimate, float]:
    """What the cell with the highest score would score under a fresh seed."""
    worths = [SPREADS[spread](rng) for _ in range(count)]
    found = [worth + rng.gauss(0, SD) for worth in worths]
    best = found.index(max(found))
    return Shrunk(found, [1] * count, measured_noise(rng)).worth(best), worths[best]


def measured_noise(rng: Random) -> Noise:
    sd = within_sd([[rng.gauss(0, SD), rng.gauss(0, SD)] for _ in range(PAIRS)])
    assert sd is not None
    return Noise(sd, PAIRS)


def of_an_effect(rng: Random) -> tuple[Estimate, float]:
    """The first of three choices, by which the values' spread grows."""
    choices_NK = np.array([[rng.gauss(0, 1) for _ in range(3)] for _ in range(40)])
    luck = [rng.gauss(0, 0.2 + abs(choice)) for choice in choices_NK[:, 0]]
    effects, _ = linear_effects(choices_NK, choices_NK @ [1.0, 0.0, -0.5] + luck)
    return effects[0], 1.0


if __name__ == "__main__":
    main()
