"""What explains the scores: found where it is planted, silent where there is nothing, and as sure as it says."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.deciding.outcomes import Status
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.findings.choices import choices
from search.findings.estimates import linear_effects
from search.findings.what_mattered import FEWEST, MOST, what_mattered
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.wording import percent

TABLES = Path(__file__).parents[3] / "benchmarks" / "tables"
FAMILIES = {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
SPACE = CellSpace(5, FAMILIES)


def search_of(scored: list[tuple[CellSpec, float]], stopped_below: float = 0.0) -> SearchRecord:
    """Completed at rung 2, where their score is drawn again; but at rung 1 stopped where it is low."""
    record = SearchRecord()
    for number, (cell, miou) in enumerate(scored):
        is_stopped = miou < stopped_below
        record.apply(CellProposed(number, cell, seed=0, params=1, madds=1, time_s=0.0))
        record.apply(RungReached(number, 1, 1, miou, 1.0, 1.0, not is_stopped, "", time_s=0.0))
        if not is_stopped:
            record.apply(RungReached(number, 2, 2, miou, 1.0, 1.0, False, "", time_s=0.0))
        record.apply(TrialEnded(number, Status.STOPPED if is_stopped else Status.COMPLETED, "", 1.0, 0.0))
    return record


def scored(count: int, score, seed: int = 0, space: CellSpace = SPACE) -> list[tuple[CellSpec, float]]:
    rng = Random(seed)
    return [(cell, score(cell, rng)) for cell in (space.sample(rng) for _ in range(count))]


def readers(cell: CellSpec) -> int:
    return sum(branch.input == BACKBONE for branch in cell.branches)


def test_a_cells_choices_are_numbers_whatever_the_order_of_its_branches():
    on_backbone = Branch(BACKBONE, AtrousConv((3, 12))), Branch(BACKBONE, PyramidPooling((2, 8)))
    cell = CellSpec((*on_backbone, Branch(0, Conv1x1()), Branch(2, AtrousConv((6, 6)))))
    other = CellSpec((Branch(BACKBONE, AtrousConv((1, 1))),))
    asked = list(choices([cell, other]))
    found = {choice.name: choice.of(cell) for choice in asked}
    assert found == {
        "conv branches": 1,
        "pool branches": 1,
        "backbone readers": 2,
        "depth": 3,
        "atrous rates": pytest.approx(np.log2(6)),
        "oblong rates": 1.0,
        "pooling grids": 2.0,
    }
    assert {choice.name: choice.of(cell.canonical()) for choice in asked} == found
    assert [choice.written(found[choice.name]) for choice in asked] == ["1", "1", "2", "3", "6", "2", "4"]
    assert {choice.name: choice.of(other) for choice in asked}["pooling grids"] is None


@pytest.mark.parametrize("stopped_below", [0.0, 0.45])
def test_the_choice_that_makes_cells_good_is_first_beyond_chance_and_worth_what_it_was_given(stopped_below):
    record = search_of(scored(300, lambda cell, rng: 0.4 + 0.02 * readers(cell) + 0.01 * rng.random()), stopped_below)
    found = what_mattered(record)
    assert found.beyond_chance[0].name == "backbone readers"
    first = found.choices[0]
    assert first.effect.low < 0.02 < first.effect.high
    assert first.effect.high - first.effect.low < 0.004
    assert found.explained > 0.9
    assert found.rung == (1 if stopped_below else 2)
    assert found.scored == 300
    assert first.in_best.value == pytest.approx(record.best.miou - 0.4 - 0.02 * 2.2833, abs=0.01)
    assert [level.choice for level in first.levels if level.has_best] == [str(readers(record.best.cell))]
    assert f"stand out by backbone readers (one more branch: {first.effect.text(percent)} points)" in found.text()
    assert "  " not in found.text()


def test_scores_that_are_chance_leave_every_choice_to_chance():
    found = [what_mattered(search_of(scored(60, lambda cell, rng: rng.random(), seed))) for seed in range(30)]
    assert sum(bool(one.beyond_chance) for one in found) <= 5
    assert sum(choice.effect.low > 0 or choice.effect.high < 0 for one in found for choice in one.choices) <= 6
    assert any(one.text().startswith("No choice sets the best tenth of 60 cells apart") for one in found)


def test_a_cell_that_was_trained_again_counts_once_and_with_its_last_score():
    first = scored(FEWEST, lambda cell, rng: rng.random())
    assert what_mattered(search_of([*first, (first[0][0], 0.5)])).cells == FEWEST


def test_of_few_cells_or_where_nothing_was_left_to_choose_nothing_is_said():
    assert what_mattered(search_of(scored(FEWEST - 1, lambda cell, rng: rng.random()))) is None
    alone = CellSpace(1, {"a": PointwiseConvs()})
    assert what_mattered(search_of(scored(FEWEST, lambda cell, rng: 0.5, space=alone))) is None


@dataclass(frozen=True)
class Kind:
    """An operator of a kind of its own."""

    name: str

    def __str__(self) -> str:
        return self.name

    def to_json(self) -> dict[str, str]:
        return {"op": self.name}


@pytest.mark.parametrize("count", [30, 34, 60])
def test_where_there_are_hardly_more_cells_than_choices_nothing_is_said(count):
    rng = Random(0)
    cells = [CellSpec((Branch(BACKBONE, Kind(f"mine{rng.randrange(40)}")),)) for _ in range(count)]
    found = what_mattered(search_of([(cell, rng.random()) for cell in cells]))
    assert found is None or found.compared > len(found.choices) + 1


def test_of_two_branches_depth_follows_from_what_reads_the_backbone_and_is_left_out():
    found = what_mattered(search_of(scored(100, lambda cell, rng: rng.random(), space=CellSpace(2, FAMILIES))))
    names = {one.name for one in found.choices}
    assert "backbone readers" in names
    assert "depth" not in names


def square_but_for(every: int, count: int) -> list[tuple[CellSpec, float]]:
    """Cells whose atrous rates are square, but for one branch of each ``every``-th cell."""
    rng, found = Random(0), []
    for number in range(count):
        rates = [(rng.randint(1, 21),) * 2 for _ in range(4)]
        rates[0] = (1, 6) if number % every == 1 else rates[0]
        inputs = [rng.choice([BACKBONE, *range(place)]) for place in range(4)]
        found.append((CellSpec(tuple(map(Branch, inputs, map(AtrousConv, rates)))), 1 - number / count))
    return found


def test_a_choice_in_which_most_cells_are_alike_sets_them_beside_all_others():
    found = what_mattered(search_of(square_but_for(10, count=100)))
    (oblong,) = [one for one in found.choices if one.name == "oblong rates"]
    assert [level.miou.count for level in oblong.levels] == [90, 10]


def test_a_choice_that_no_compared_cell_made_otherwise_has_no_importance(monkeypatch):
    monkeypatch.setattr("search.findings.what_mattered.MOST", FEWEST)
    found = what_mattered(search_of(square_but_for(2 * FEWEST, count=2 * FEWEST)))
    (oblong,) = [one for one in found.choices if one.name == "oblong rates"]
    assert (oblong.importance, oblong.is_chance) == (0, True)


def test_of_a_long_search_cells_from_all_over_the_leaderboard_are_compared():
    found = what_mattered(search_of(scored(2 * MOST + 1, lambda cell, rng: 0.1 * readers(cell) + 0.01 * rng.random())))
    assert found.cells == 667
    assert found.scored == 2 * MOST + 1
    assert found.choices[0].name == "backbone readers"


def test_of_the_recorded_searches_a_1x1_branch_sets_the_best_apart():
    for name in ("camvid-h100-f256-400-5", "camvid-h100-f256-400-2"):
        found = what_mattered(SearchRecord(read_events(TABLES / f"{name}.jsonl.gz")[0]))
        assert found.choices[0].name == "conv branches"
        assert not found.choices[0].is_chance
        assert found.choices[0].effect.low > 0.01


def test_intervals_of_effects_hold_what_is_true_also_where_values_spread_differently():
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        choices_NK = rng.normal(size=(40, 3))
        values_N = choices_NK @ [1.0, 0.0, -0.5] + rng.normal(size=40) * (0.2 + np.abs(choices_NK[:, 0]))
        effects, _ = linear_effects(choices_NK, values_N)
        covered += [one.low <= true <= one.high for one, true in zip(effects, [1.0, 0.0, -0.5], strict=True)]
    assert 0.93 <= np.mean(covered) <= 0.98


def test_more_choices_than_values_are_refused():
    with pytest.raises(ValueError, match="3 choices need at least 5 values, got 4"):
        linear_effects(np.eye(4, 3), np.ones(4))
