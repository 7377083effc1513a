"""Spearman's rho and how sure it is: against SciPy, at its limits, and for the rungs of a search."""

from random import Random

import numpy as np
import pytest
from scipy.stats import spearmanr

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status
from search.findings.rank_correlation import FEWEST, rank_correlation, rung_correlations
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


@pytest.mark.parametrize("digits", [9, 1], ids=["no ties", "mostly ties"])
def test_the_interval_is_that_of_scipys_rho_over_the_same_resamples(digits):
    first, second = map(np.asarray, drawn(30, 0.1, digits=digits))
    rng = np.random.default_rng(7)
    resamples = [rng.integers(0, 30, 30) for _ in range(1000)]
    low, high = np.nanquantile([spearmanr(first[drawn], second[drawn]).statistic for drawn in resamples], (0.025, 0.975))
    found = rank_correlation(first, second, seed=7)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_holds_the_true_rho_about_as_often_as_it_says():
    truth = spearmanr(*drawn(200_000, 0.1, seed=1)).statistic
    fits = [rank_correlation(*drawn(40, 0.1, seed=seed)) for seed in range(100)]
    assert 85 <= sum(fit.low <= truth <= fit.high for fit in fits) <= 100


def test_more_cells_make_it_surer():
    few, many = (rank_correlation(*drawn(count, 0.1)) for count in (20, 2000))
    assert many.high - many.low < 0.25 * (few.high - few.low)


def test_the_same_pairs_and_seed_give_the_same_interval():
    first, second = drawn(20, 0.1)
    assert rank_correlation(first, second) == rank_correlation(first, second)
    assert rank_correlation(first, second) != rank_correlation(first, second, seed=1)


def test_order_alone_counts():
    rising = [0.1, 0.2, 0.4, 0.5, 0.9, 0.95]
    found = rank_correlation(rising, [score**9 for score in rising])
    assert (found.rho, found.low, found.high, found.pairs) == (1.0, 1.0, 1.0, 6)
    assert rank_correlation(rising, rising[::-1]).rho == -1.0


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
    assert (first.rung, first.iteration, first.rho, first.pairs) == (1, 10, 1.0, 6)
    assert (second.rung, second.iteration, second.rho, second.pairs) == (2, 20, -1.0, 6)


def test_a_rung_at_which_all_score_alike_is_left_out():
    record = search_of([(0.5, 0.1 * place, 0.1 * place) for place in range(6)])
    assert [found.rung for found in rung_correlations(record)] == [2]


def test_too_few_completed_trials_say_nothing():
    assert not rung_correlations(search_of([(0.1, 0.2, 0.3), (0.2, 0.3, 0.4)]))
    assert not rung_correlations(SearchRecord())


def test_an_interval_holds_its_estimate_also_where_most_ranks_tie(monkeypatch):
    monkeypatch.setattr(np, "nanquantile", lambda rhos, shares: (0.62, 0.92))
    found = rank_correlation([1, 2, 2, 3, 3, 3], [1, 1, 2, 3, 2, 2])
    assert found.low <= found.rho <= found.high
