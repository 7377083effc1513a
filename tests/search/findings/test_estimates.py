"""Estimates and how sure they are: against the truth in small simulations, at their limits, and for the rungs of a search."""

from itertools import permutations
from math import asin, pi, sqrt
from random import Random
from statistics import fmean

import pytest
from scipy.stats import spearmanr

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status
from search.findings.estimates import (
    FEWEST,
    FEWEST_FOR_INTERVAL,
    Estimate,
    mean,
    paired_difference,
    rank_correlation,
    within_sd,
)
from search.findings.rung_correlations import rung_correlations
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.record import SearchRecord


def drawn(count: int, noise: float, seed: int = 0, digits: int = 9) -> tuple[list[float], list[float]]:
    rng = Random(seed)
    first = [round(rng.gauss(0.7, 0.1), digits) for _ in range(count)]
    return first, [round(score + rng.gauss(0, noise), digits) for score in first]


@pytest.mark.parametrize("digits", [9, 1], ids=["no ties", "mostly ties"])
@pytest.mark.parametrize("count", [5, 50, 1000])
def test_rho_is_scipys(count, digits):
    first, second = drawn(count, 0.1, digits=digits)
    assert rank_correlation(first, second).rho == pytest.approx(spearmanr(first, second).statistic)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_the_interval_of_a_mean_holds_the_truth_about_as_often_as_it_says(count):
    """A bootstrap's did in 51, 71, 82 and 89 of 100 samples (benchmarks/bench_intervals.py)."""
    rng = Random(0)
    fits = [mean([rng.gauss(0.7, 0.1) for _ in range(count)]) for _ in range(1000)]
    assert 0.93 < fmean(fit.low <= 0.7 <= fit.high for fit in fits) < 0.97


@pytest.mark.parametrize("noise", [0.03, 0.1, 1.0])
@pytest.mark.parametrize("count", [FEWEST_FOR_INTERVAL, 30])
def test_the_interval_of_rho_holds_the_truth_about_as_often_as_it_says(count, noise):
    truth = 6 / pi * asin(1 / sqrt(1 + (noise / 0.1) ** 2) / 2)  # of two normal variables (Pearson 1907)
    fits = [rank_correlation(*drawn(count, noise, seed=seed)) for seed in range(150)]
    assert fmean(fit.low <= truth <= fit.high for fit in fits) > 0.90


def test_where_nothing_is_an_exact_p_value_below_five_percent_is_as_rare_as_it_says():
    rng = Random(0)
    rising = range(FEWEST)
    p_values = {order: rank_correlation(rising, order).p_value for order in permutations(rising)}
    assert 0 < fmean(p_value < 0.05 for p_value in p_values.values()) <= 0.05
    assert p_values[4, 3, 2, 0, 1] == pytest.approx(0.0833, abs=1e-3)
    few = rank_correlation([rng.random() for _ in range(7)], [rng.random() for _ in range(7)])
    assert (few.low, few.high) == (None, None)
    assert "too few for an interval, exact p =" in few.text()


def test_a_single_number_has_no_interval():
    assert mean([0.5]) == Estimate(0.5, None, None, 1)
    assert mean([0.5]).text() == "0.50"
    with pytest.raises(ValueError, match="mean: at least one number is needed"):
        mean([])


def test_noise_that_two_share_does_not_widen_their_difference():
    rng = Random(0)
    luck = [rng.gauss(0, 1) for _ in range(10)]
    found = paired_difference([value + 0.3 for value in luck], luck)
    assert (found.low, found.value, found.high) == pytest.approx((0.3, 0.3, 0.3))


def test_the_deviation_within_groups_leaves_out_what_differs_between_them():
    rng = Random(0)
    groups = [[10 * place + rng.gauss(0, 0.5) for _ in range(2)] for place in range(400)]
    assert within_sd(groups) == pytest.approx(0.5, rel=0.1)
    assert within_sd([[1.0], [2.0]]) is None


def test_more_cells_make_it_surer():
    few, many = (rank_correlation(*drawn(count, 0.1)) for count in (20, 2000))
    assert many.high - many.low < 0.25 * (few.high - few.low)


def test_order_alone_counts():
    rising = [0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.9, 0.95]
    found = rank_correlation(rising, [score**9 for score in rising])
    assert (found.rho, found.high, found.pairs) == (pytest.approx(1.0), pytest.approx(1.0), 8)
    assert found.low < 0.99, "all of eight pairs agree: that is no certainty"
    assert rank_correlation(rising, rising[::-1]).rho == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "pairs",
    [
        ([], []),
        ([0.1] * (FEWEST - 1), list(range(FEWEST - 1))),
        ([0.5] * 20, drawn(20, 0.1)[0]),
        (drawn(20, 0.1)[0], [0.5] * 20),
    ],
    ids=["none", "too few", "first all the same", "second all the same"],
)
def test_where_it_would_say_nothing_there_is_none(pairs):
    assert rank_correlation(*pairs) is None


def test_scores_without_a_partner_are_refused():
    with pytest.raises(ValueError, match="each cell needs two scores, got 2 and 3"):
        rank_correlation([0.1, 0.2], [0.1, 0.2, 0.3])


def search_of(mious: list[tuple[float, ...]], rungs: int = 3) -> SearchRecord:
    """Trials with these scores; those with fewer than ``rungs`` were stopped."""
    record = SearchRecord()
    for number, scores in enumerate(mious):
        cell = CellSpec((Branch(BACKBONE, AtrousConv((1, 1 + number))),))
        record.apply(CellProposed(number, cell, seed=0, params=1, madds=1, time_s=0.0))
        for rung, miou in enumerate(scores, start=1):
            record.apply(RungReached(number, rung, 10 * rung, miou, 1.0, 1.0, rung < len(scores), "", time_s=0.0))
        status = Status.COMPLETED if len(scores) == rungs else Status.STOPPED
        record.apply(TrialEnded(number, status, "", 1.0, 0.0))
    return record


def test_rungs_are_compared_with_the_last_over_completed_trials_alone():
    completed = [(0.1 * place, 0.9 - 0.1 * place, 0.1 * place) for place in range(6)]
    stopped = [(0.99,), (0.0, 0.99)]
    first, second = rung_correlations(search_of([*completed, *stopped]))
    assert (first.rung, first.iteration, first.rho, first.pairs) == (1, 10, pytest.approx(1.0), 6)
    assert (second.rung, second.iteration, second.rho, second.pairs) == (2, 20, pytest.approx(-1.0), 6)


def test_a_rung_at_which_all_score_alike_is_left_out():
    record = search_of([(0.5, 0.1 * place, 0.1 * place) for place in range(6)])
    assert [found.rung for found in rung_correlations(record)] == [2]


def test_too_few_completed_trials_say_nothing():
    assert not rung_correlations(search_of([(0.1, 0.2, 0.3), (0.2, 0.3, 0.4)]))
    assert not rung_correlations(SearchRecord())


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_holds_its_estimate_also_where_most_ranks_tie(seed):
    found = rank_correlation(*drawn(9, 0.1, seed=seed, digits=1))
    assert found is None or found.low <= found.rho <= found.high
