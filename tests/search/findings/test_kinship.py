"""What two cells have in common, and where the best one came from."""

from random import Random

import pytest

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.deciding.outcomes import Status
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.findings.kinship import ancestry, changed, inherited_branches, shared_branches
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.record import SearchRecord

A, B, C = Conv1x1(), AtrousConv((1, 6)), PyramidPooling((2, 2))
SPACE = CellSpace(5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 6])})


def cell(*branches: tuple[int, object]) -> CellSpec:
    return CellSpec(tuple(Branch(source, operator) for source, operator in branches))


def test_what_both_have_hangs_from_the_backbone_in_both():
    one = cell((BACKBONE, A), (0, B), (0, C))
    other = cell((BACKBONE, C), (BACKBONE, A), (1, B), (2, B))
    assert shared_branches(one, other) == ({0, 1}, {1, 2})
    assert shared_branches(one, cell((BACKBONE, B), (0, A))) == (frozenset(), frozenset())


def test_of_two_that_match_the_one_with_more_below_is_taken():
    one = cell((BACKBONE, A), (0, B), (1, C))
    other = cell((BACKBONE, A), (BACKBONE, A), (1, B), (2, C))
    assert shared_branches(one, other) == ({0, 1, 2}, {1, 2, 3})


@pytest.mark.parametrize("seed", range(20))
def test_equal_cells_have_all_in_common_whatever_the_order_and_a_mutant_all_but_what_changed(seed):
    one = SPACE.sample(Random(seed))
    assert len(shared_branches(one, one.canonical())[0]) == 5
    other = SPACE.sample(Random(100 + seed))
    mine, theirs = shared_branches(one, other)
    assert len(mine) == len(theirs) == 5 - changed(one, other) == 5 - changed(other, one)
    assert sorted(str(one.branches[index].operator) for index in mine) == sorted(
        str(other.branches[index].operator) for index in theirs
    )


def record_of(cells: list[tuple[CellSpec, float]]) -> SearchRecord:
    record = SearchRecord()
    for number, (one, miou) in enumerate(cells):
        record.apply(CellProposed(number, one, seed=0, params=1, madds=1, time_s=10.0 * number))
        record.apply(RungReached(number, 1, 1, miou, 1.0, 1.0, False, "", time_s=10.0 * number + 5))
        record.apply(TrialEnded(number, Status.COMPLETED, "", 1.0, 10.0 * number + 5))
    return record


def test_the_line_of_the_best_goes_back_through_the_nearest_that_had_ended():
    eldest, middle, best = cell((BACKBONE, A), (0, A)), cell((BACKBONE, A), (0, B)), cell((BACKBONE, A), (0, B), (0, C))
    stranger, late = cell((BACKBONE, C), (0, C)), cell((BACKBONE, A), (0, B), (0, A))
    record = record_of([(stranger, 0.6), (eldest, 0.4), (middle, 0.5), (best, 0.9), (late, 0.8)])
    line = ancestry(record)
    assert [trial.number for trial in line] == [1, 2, 3]
    kept = inherited_branches(line)
    assert [kept[number] for number in (1, 2, 3)] == [frozenset(), {0}, {0, 1}]


def test_a_best_cell_that_is_like_none_before_it_has_no_line():
    assert len(ancestry(record_of([(cell((BACKBONE, C)), 0.6), (cell((BACKBONE, A)), 0.9)]))) == 1
    assert ancestry(SearchRecord()) == []
