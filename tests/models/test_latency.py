"""Tables of latency: sums over operators, read without trust, measured by medians, and what a search asks of them."""

import json
from dataclasses import replace
from random import Random

import pytest
import torch

import dpc
from data.system.errors import UserError
from models import timing
from models.cost import FeatureShape, cell_cost
from models.latency import LatencyTable, TimedCost, cost_with, key_of
from models.settings import CellSettings
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1
from models.timing import measure_cells, measure_table, medians_ms
from search.cli import main
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


def study(folder, **changes):
    given = {"latency": folder / "table.json", "features": MAPS, "filters": 8, "trials": 12, "output_dir": folder}
    return dpc.study(SPACE, **given | changes)


def test_a_cells_latency_is_the_sum_of_its_operators_by_what_they_read_and_of_what_joins_them():
    assert TABLE.of(CELL) == 1 + 20 + 100
    assert TABLE.of(CELL.canonical()) == TABLE.of(CELL)
    cost = cost_with(TABLE, MAPS, 8)(CELL)
    assert cost == TimedCost(
        **{name: getattr(cell_cost(CELL, MAPS, 8), name) for name in cell_cost(CELL, MAPS, 8).__slots__}, latency_ms=121.0
    )
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
    with pytest.raises(UserError, match=r"latency\.table: .*table\.json is no table of dpc latency"):
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


def test_the_command_prints_how_well_sums_rank_whole_cells_and_writes_a_table_with_the_hardware_in_its_name(tmp_path, capsys):
    small = ["features.channels=4", "features.height=5", "features.width=6", "filters=3", "rounds=1", "check_cells=8"]
    space = ["space.num_branches=2", "space.operators.atrous.rates=[1]", "~space.operators.pooling"]
    assert main(["latency", f"output_dir={tmp_path}", *small, *space]) == 0
    said = capsys.readouterr().out
    (made,) = (tmp_path / "latency").iterdir()
    table = LatencyTable.read(made)
    assert "Sums over operators and 8 whole cells" in said
    assert "Spearman's rho" in said
    assert made.name.endswith("-1-threads-4x5x6-3.json")
    assert made.name.startswith(table.hardware.split()[0].lower())
    assert str(made) in said.replace("\n", "")
    assert table.settings["cells"] == 8


def test_a_search_for_other_hardware_is_refused_in_one_line_unless_it_is_named(file, tmp_path, capsys):
    assert (
        main(
            [
                "search",
                f"output_dir={tmp_path}",
                f"latency.table={file}",
                "budget.latency_ms=200",
                "space.num_branches=2",
                "space.operators.atrous.rates=[1,3]",
                "~space.operators.pooling",
            ]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert said.startswith("dpc: latency.table: was measured on a clock, wanted is ")
    assert said.count("\n") == 1


def test_a_study_keeps_to_a_latency_and_journals_it_and_knows_its_table_again(file, tmp_path):
    with study(tmp_path, budget=dpc.Budget(latency_ms=105)) as begun:
        while asked := begun.ask():
            assert asked.latency_ms == TABLE.of(asked.cell) <= 105
            begun.tell(asked, 0.5)
    trials = dpc.load(tmp_path / "default").trials.values()
    assert [one.proposed.latency_ms for one in trials] == [TABLE.of(one.cell) for one in trials]
    assert len(trials) == sum(TABLE.of(cell) <= 105 for cell in SPACE.members) > 5
    replace(TABLE, joining_ms={2: 90.0}).write(file)
    with pytest.raises(ValueError, match=r"holds a search with other settings \(latency.table was"):
        study(tmp_path, budget=dpc.Budget(latency_ms=105))


def test_pareto_breeds_what_is_fast_and_good(file, tmp_path):
    slow = SPACE.members
    with study(tmp_path, algorithm=dpc.Pareto("latency_ms", population_size=4), trials=len(slow) - 3) as begun:
        while asked := begun.ask():
            begun.tell(asked, 0.5)
    left = [cell for cell in slow if cell.digest not in {one.cell.digest for one in begun.record.trials.values()}]
    tried = [one.proposed.latency_ms for one in begun.record.trials.values()]
    assert max(map(TABLE.of, left)) > sorted(tried)[len(tried) // 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget": dpc.Budget(latency_ms=5)}, "budget.latency_ms: needs latency.table="),
        ({"algorithm": dpc.Pareto("latency_ms")}, "algorithm.cost=latency_ms: needs latency.table="),
    ],
    ids=["budget", "pareto"],
)
def test_a_latency_that_nobody_measured_is_asked_for(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        study(tmp_path, latency=None, **given)


def test_a_limit_below_the_fastest_cell_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match="budget.latency_ms: the space's cheapest cell has 102.0, got a limit of 101"):
        study(tmp_path, budget=dpc.Budget(latency_ms=101))
