"""What two ways to score cells would agree on without the luck of their seeds; and the cells that are asked."""

import re
from random import Random

import pytest

from search.deciding.reduced import UniformCells
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.findings.attenuation import attenuation, repeatability
from search.findings.estimates import rank_correlation

SPACE = CellSpace(3, {"a": PointwiseConvs(), "b": AtrousConvs([1, 6, 12])})


def test_a_correction_for_two_noisy_seeds_finds_what_the_worths_agree_on():
    rng = Random(0)
    worth = [rng.gauss(0, 1) for _ in range(2000)]
    other = [0.8 * one + 0.6 * rng.gauss(0, 1) for one in worth]
    first, second = ([[one + rng.gauss(0, 1) for one in of_side] for _ in range(2)] for of_side in (worth, other))
    means = [[sum(pair) / 2 for pair in zip(*seeds, strict=True)] for seeds in (first, second)]
    seen, truth = rank_correlation(*means).rho, rank_correlation(worth, other).rho
    assert seen < truth - 0.15
    told = attenuation(seen, repeatability(first), repeatability(second), 2)
    assert float(re.search(r"corrected for that (.*)", told)[1]) == pytest.approx(truth, abs=0.05)


def test_one_seed_cannot_tell_how_well_a_side_repeats_itself():
    assert repeatability([[0.1, 0.2, 0.3, 0.4, 0.5]]) is None
    assert "is not known; seeds=2 would show it" in attenuation(0.5, None, None, 1)
    assert "nothing is left to correct rho by" in attenuation(0.1, -0.2, 0.5, 2)


def test_cells_that_are_asked_are_drawn_from_the_space_each_once():
    cells = UniformCells(SPACE, 40).cells()
    assert len({cell.digest for cell in cells}) == 40
    assert all(cell in SPACE for cell in cells)
    assert any(branch.input >= 0 for cell in cells for branch in cell.branches), "branches read each other"
    assert cells == UniformCells(SPACE, 40).cells() != UniformCells(SPACE, 40, seed=1).cells()
    with pytest.raises(ValueError, match=r"cells.count must be from 2 to the space's 2 cells, got 31."):
        UniformCells(CellSpace(1, {"a": PointwiseConvs(), "b": AtrousConvs([1])}), 31)
