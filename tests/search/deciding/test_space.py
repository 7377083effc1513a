import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spec import CellError, CellSpec
from search.deciding.reduced import SquareAtrousConvs
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings


def paper_space(num_branches=5):
    families = {
        "pointwise": PointwiseConvs(),
        "atrous": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]),
        "pooling": PyramidPoolings([1, 2, 4, 8]),
    }
    return CellSpace(num_branches, families)


def small_space(num_branches):
    return CellSpace(num_branches, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 6])})


@pytest.mark.parametrize("num_branches", range(1, 9))
def test_the_papers_space_has_exactly_b_factorial_times_81_to_the_b_encodings(num_branches):
    assert paper_space(num_branches).size == math.factorial(num_branches) * 81**num_branches


def test_the_papers_space_has_418_billion_encodings():
    assert paper_space().size == 418_414_128_120


@pytest.mark.parametrize(("num_branches", "cells"), [(1, 81), (2, 9_882), (3, 1_423_764), (5, 37_888_452_756)])
def test_the_papers_space_has_the_known_number_of_distinct_cells(num_branches, cells):
    assert paper_space(num_branches).num_distinct == cells


@pytest.mark.parametrize("num_branches", [1, 2, 3, 4])
def test_enumeration_finds_each_distinct_cell_once(num_branches):
    space = small_space(num_branches)
    cells = list(space.enumerate())
    assert len({cell.digest for cell in cells}) == len(cells) == space.num_distinct
    assert all(cell == cell.canonical() and cell in space for cell in cells)


def test_distinct_cells_of_two_branches_of_the_whole_space_are_enumerated():
    assert sum(1 for _ in paper_space(2).enumerate()) == 9_882


def test_samples_are_uniform_over_the_encodings():
    space = CellSpace(2, {"atrous": AtrousConvs([1, 2])})
    counts: dict[CellSpec, int] = {}
    rng = Random(0)
    for _ in range(32_000):
        cell = space.sample(rng)
        counts[cell] = counts.get(cell, 0) + 1
    assert len(counts) == space.size == 32
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert chi_square < 61.1  # 31 degrees of freedom, p = 0.001


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), num_branches=st.integers(1, 6))
def test_a_mutant_is_another_member_one_change_away(seed, num_branches):
    space, rng = small_space(num_branches), Random(seed)
    cell = space.sample(rng)
    mutant = space.mutate(cell, rng)
    assert mutant in space
    assert mutant != cell
    assert mutant.digest in {neighbour.digest for neighbour in space.neighbours(cell)} | {cell.digest}


def test_neighbours_are_a_symmetric_relation():
    space = small_space(3)
    neighbours = {cell.digest: {n.digest for n in space.neighbours(cell)} for cell in space.enumerate()}
    for digest, found in neighbours.items():
        assert digest not in found
        assert all(digest in neighbours[other] for other in found)


def test_mutation_reaches_the_whole_space():
    space, rng = small_space(3), Random(0)
    cell = space.sample(rng)
    seen = set()
    for _ in range(60_000):
        cell = space.mutate(cell, rng)
        seen.add(cell.digest)
    assert len(seen) == space.num_distinct


def test_a_space_of_one_cell_cannot_mutate_it():
    space = CellSpace(1, {"pointwise": PointwiseConvs()})
    with pytest.raises(ValueError, match="single cell"):
        space.mutate(space.sample(Random(0)), Random(0))


def test_a_cell_outside_the_space_is_refused_by_name():
    outside = [{"op": "conv", "kernel": 3, "rate": [1, 2], "input": -1}]
    with pytest.raises(CellError, match="branch 0 applies atrous 1x2, which is not one of the space's 81 operators"):
        paper_space(1).parse(outside)
    with pytest.raises(CellError, match="cells of 5 branches, got 1"):
        paper_space().parse([{"op": "conv", "kernel": 1, "input": -1}])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"num_branches": 0, "operators": {"a": PointwiseConvs()}}, "space.num_branches"),
        ({"num_branches": 1, "operators": {}}, "at least one operator"),
        ({"num_branches": 1, "operators": {"a": PointwiseConvs(), "b": PointwiseConvs()}}, "got twice: conv 1x1"),
        ({"num_branches": 1, "operators": {"a": object()}}, "space.operators.a"),
    ],
)
def test_an_impossible_space_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        CellSpace(**arguments)


@pytest.mark.parametrize("sizes", [[], [0], [-1], [6, 6]], ids=str)
def test_a_family_of_operators_has_sizes_that_differ_and_can_be_built(sizes):
    for family, name in ((AtrousConvs, "rates"), (SquareAtrousConvs, "rates"), (PyramidPoolings, "grids")):
        with pytest.raises(ValueError, match=f"{name} must be one or more different whole numbers of at least 1"):
            family(sizes)
