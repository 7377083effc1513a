"""What good cells are made of: counted right, and silent where it is chance."""

from random import Random

import pytest
from scipy.stats import binomtest

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1
from search.deciding.outcomes import Status
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.findings.operator_usage import operator_usage
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.record import SearchRecord

SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
WIDE = AtrousConv((6, 18))


def search_of(scored: list[tuple[CellSpec, float]], status: Status = Status.COMPLETED) -> SearchRecord:
    record = SearchRecord()
    for number, (cell, miou) in enumerate(scored):
        record.apply(CellProposed(number, cell, seed=0, params=1, madds=1, time_s=0.0))
        record.apply(RungReached(number, 1, 1, miou, 1.0, 1.0, False, "", time_s=0.0))
        record.apply(TrialEnded(number, status, "", 1.0, 0.0))
    return record


def uniform(count: int, seed: int = 0) -> list[CellSpec]:
    rng = Random(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def test_branches_are_counted_and_shared_out():
    wide = CellSpec((Branch(BACKBONE, WIDE), Branch(0, WIDE)))
    narrow = CellSpec((Branch(BACKBONE, AtrousConv()), Branch(0, Conv1x1())))
    usage = operator_usage(search_of([(wide, 0.9), (narrow, 0.8), (narrow, 0.7), (narrow, 0.6)]), top=0.25)
    assert (usage.good_cells, usage.all_cells) == (1, 4)
    assert list(usage.operators) == [WIDE, AtrousConv(), Conv1x1()]
    found = usage.operators[WIDE]
    assert (found.count_good, found.count_all, found.share_good, found.share_all, found.lift) == (2, 2, 1.0, 0.25, 4.0)
    assert (usage.kinds["atrous"].count_all, usage.kinds["conv"].count_all) == (5, 3)
    assert usage.operators[Conv1x1()].lift == 0.0


def test_the_interval_is_clopper_and_pearsons_for_all_operators_together():
    usage = operator_usage(search_of([(cell, 0.001 * place) for place, cell in enumerate(uniform(200))]))
    level, branches = 1 - 0.05 / len(usage.operators), 5 * usage.good_cells
    for found in usage.operators.values():
        interval = binomtest(found.count_good, branches).proportion_ci(level, method="exact")
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_scores_that_are_chance_make_no_operator_stand_out():
    outstanding = []
    for seed in range(40):
        rng = Random(seed)
        usage = operator_usage(search_of([(cell, rng.random()) for cell in uniform(300, seed)]))
        outstanding.append(any(not found.is_noise for found in usage.operators.values()))
    assert sum(outstanding) <= 5  # one in twenty at most, of forty


def test_an_operator_that_makes_cells_good_stands_out_and_alone():
    rng = Random(0)
    scored = [
        (cell, 0.5 * rng.random() + 0.4 * any(branch.operator == WIDE for branch in cell.branches)) for cell in uniform(2000)
    ]
    usage = operator_usage(search_of(scored))
    assert [operator for operator, found in usage.operators.items() if not found.is_noise and found.lift > 1] == [WIDE]


def test_of_a_dozen_cells_nothing_stands_out():
    usage = operator_usage(search_of([(cell, 0.01 * place) for place, cell in enumerate(uniform(12))]))
    assert usage.good_cells == 2
    assert all(found.is_noise for found in usage.operators.values())


def test_good_cells_are_the_leaderboards_first():
    record = search_of([(cell, 0.9) for cell in uniform(9)], Status.STOPPED)
    best = CellSpec((Branch(BACKBONE, WIDE),) * 5)
    record.apply(CellProposed(9, best, seed=0, params=1, madds=1, time_s=0.0))
    for rung, miou in ((1, 0.1), (2, 0.95)):
        record.apply(RungReached(9, rung, rung, miou, 1.0, 1.0, rung == 1, "", time_s=0.0))
    record.apply(TrialEnded(9, Status.COMPLETED, "", 1.0, 0.0))
    assert operator_usage(record).operators[WIDE].share_good == 1.0


def test_without_a_score_there_is_nothing_to_compare():
    assert operator_usage(SearchRecord()) is None


@pytest.mark.parametrize("top", [0.0, -1.0, 1.1])
def test_a_share_of_cells_is_above_0_and_at_most_1(top):
    with pytest.raises(ValueError, match="top must be above 0 and at most 1"):
        operator_usage(SearchRecord(), top)
