"""Tables of latency: sums over operators, read without trust, measured by medians."""

import json
from dataclasses import replace
from random import Random

import pytest
import torch

from data.system.errors import UserError
from models import timing
from models.cost import FeatureShape, cell_cost
from models.latency import LatencyTable, cost_with
from models.settings import CellSettings
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, key_of
from models.timing import measure_cells, measure_table, medians_ms
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs

SPACE = CellSpace(2, {"conv": PointwiseConvs(), "atrous": AtrousConvs([1, 3])})
MAPS = FeatureShape(4, 5, 6)
CPU = torch.device("cpu")
TABLE = LatencyTable(
    "a clock",
    MAPS,
    8,
    {key_of(operator): float(number) for number, operator in enumerate(SPACE.choices, start=1)},
    {key_of(operator): 10.0 * number for number, operator in enumerate(SPACE.choices, start=1)},
    {2: 100.0},
    {"device": "cpu", "threads": 1},
)
CELL = CellSpec((Branch(BACKBONE, Conv1x1()), Branch(0, AtrousConv((1, 1)))))


@pytest.fixture
def file(tmp_path):
    TABLE.write(tmp_path / "table.json")
    return tmp_path / "table.json"


def test_a_cells_latency_is_the_sum_of_its_operators_by_what_they_read_and_of_what_joins_them():
    assert TABLE.of(CELL) == 1 + 20 + 100
    assert TABLE.of(CELL.canonical()) == TABLE.of(CELL)
    assert cost_with(TABLE, MAPS, 8)(CELL) == replace(cell_cost(CELL, MAPS, 8), latency_ms=121.0)
    assert cost_with(None, MAPS, 8)(CELL) == cell_cost(CELL, MAPS, 8)


def test_a_table_is_read_as_it_was_written_and_what_people_know_of_it_changes_no_digest(file):
    assert LatencyTable.read(file) == TABLE
    assert replace(TABLE, settings={}).digest == TABLE.digest
    assert replace(TABLE, joining_ms={2: 99.0}).digest != TABLE.digest


@pytest.mark.parametrize(
    "changes",
    [{"version": 2}, {"features": [1, 2]}, {"joining_ms": {"two": 1.0}}, {"joining_ms": {}}, {"filters": None}]
    + [{"on_branch_ms": {"x": wrong}} for wrong in (0, -1, float("nan"), "fast")],
    ids=str,
)
def test_a_table_that_is_damaged_is_named(file, changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(UserError, match=r"latency\.table: .*table\.json was not written by dpc latency"):
        LatencyTable.read(file)


def test_what_was_not_measured_is_said():
    with pytest.raises(UserError, match="has no atrous 6x6; make it with the search's space.operators"):
        TABLE.of(CellSpec((Branch(BACKBONE, AtrousConv((6, 6))), Branch(0, Conv1x1()))))
    with pytest.raises(UserError, match="knows cells of 2 branches, got 1"):
        TABLE.of(CellSpec((Branch(BACKBONE, Conv1x1()),)))
    with pytest.raises(UserError, match="was measured on a clock, wanted is a watch: .* latency.hardware='a clock'"):
        TABLE.check_hardware("a watch")
    TABLE.check_hardware("a clock")
    with pytest.raises(UserError, match="of 4 channels of 5 x 6 and 8 filters, the .* `dpc latency features.channels=4 .*=16`"):
        TABLE.check_maps(MAPS, 16)


def test_a_median_over_rounds_is_not_moved_by_a_moment_in_which_the_machine_was_busy(monkeypatch):
    now_s, rounds = [0.0], [0]

    def taking(ms):
        def work():
            now_s[0] += ms / 1000 + (0.5 if rounds[0] == 2 else 0.0)

        return work

    monkeypatch.setattr(timing.time, "thread_time", lambda: now_s[0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now_s[0])
    found = medians_ms([taking(3.0), taking(0.1)], 5, CPU, lambda done, total: rounds.__setitem__(0, done))
    assert found == pytest.approx([3.0, 0.1])


def test_every_operator_is_measured_on_both_inputs_and_whole_cells_as_well():
    settings = CellSettings(filters=3)
    table = measure_table("here", SPACE.choices, 2, MAPS, settings, CPU, rounds=1)
    assert table.on_backbone_ms.keys() == table.on_branch_ms.keys() == {key_of(operator) for operator in SPACE.choices}
    cells = [SPACE.sample(Random(n)) for n in range(3)]
    assert all(table.of(cell) > 0 for cell in cells)
    assert len(measure_cells(cells, MAPS, settings, CPU, rounds=1)) == 3
