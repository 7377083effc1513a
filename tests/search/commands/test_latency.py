"""``dpc latency``, and what a search asks of its tables."""

from dataclasses import replace

import pytest

import dpc
from models.latency import LatencyTable
from models.spec import key_of
from search.cli import main
from tests.models.test_latency import MAPS, SPACE, TABLE


@pytest.fixture
def file(tmp_path):
    TABLE.write(tmp_path / "table.json")
    return tmp_path / "table.json"


SMALL = ["space.num_branches=2", "space.operators.atrous.rates=[1,3]", "~space.operators.pooling"]


def study(folder, **changes):
    given = {"latency": folder / "table.json", "features": MAPS, "filters": 8, "trials": 12, "output_dir": folder}
    return dpc.study(SPACE, **given | changes)


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
    assert main(["search", f"output_dir={tmp_path}", f"latency.table={file}", "budget.latency_ms=200", *SMALL]) == 2
    said = capsys.readouterr().err
    assert said.startswith("dpc: latency.table: was measured on a clock, wanted is ")
    assert said.count("\n") == 1


def test_a_study_keeps_to_a_latency_and_journals_it_and_knows_its_table_again(file, undrawn, tmp_path):
    with study(tmp_path, budget=dpc.Budget(latency_ms=105)) as begun:
        while asked := begun.ask():
            assert asked.latency_ms == TABLE.of(asked.cell) <= 105
            begun.tell(asked, 0.5)
    trials = dpc.load(tmp_path / "default").trials.values()
    assert [one.evaluation().latency_ms for one in trials] == [TABLE.of(one.cell) for one in trials]
    assert len(trials) == sum(TABLE.of(cell) <= 105 for cell in SPACE.members) > 5
    assert [row["latency_ms"] for row in dpc.leaderboard(begun.record)] == [TABLE.of(one.cell) for one in begun.record.ranked()]
    assert (tmp_path / "default" / "leaderboard.csv").read_text().splitlines()[0].endswith(",cell,latency_ms")
    assert main(["report", f"output_dir={tmp_path}", *SMALL]) == 0
    replace(TABLE, joining_ms={2: 90.0}).write(file)
    with pytest.raises(ValueError, match=r"holds a search with other settings \(latency.table was"):
        study(tmp_path, budget=dpc.Budget(latency_ms=105))


def test_pareto_breeds_what_is_fast_and_good(file, tmp_path):
    slow = SPACE.members
    with study(tmp_path, algorithm=dpc.Pareto("latency_ms", population_size=4), trials=len(slow) - 3) as begun:
        while asked := begun.ask():
            begun.tell(asked, 0.5)
    left = [cell for cell in slow if cell.digest not in {one.cell.digest for one in begun.record.trials.values()}]
    tried = [one.latency_ms for one in begun.record.trials.values()]
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


def test_a_search_without_a_table_knows_no_latency_and_journals_none(tmp_path):
    with study(tmp_path, latency=None) as begun:
        begun.tell(begun.ask(), 0.5)
        assert [one.evaluation().latency_ms for one in begun.record.trials.values()] == [None]
    _, proposed, *_ = (tmp_path / "default" / "journal.jsonl").read_text().splitlines()
    assert '"cell_proposed"' in proposed
    assert "latency_ms" not in proposed


@pytest.mark.parametrize("given", [{"budget": dpc.Budget(latency_ms=200)}, {"algorithm": dpc.Pareto("latency_ms")}], ids=str)
def test_a_table_that_lacks_an_operator_of_the_space_is_refused_before_a_cell_has_it(file, tmp_path, given):
    lacking = key_of(SPACE.choices[-1])
    known = {name: {key: ms for key, ms in getattr(TABLE, name).items() if key != lacking} for name in ("on_branch_ms",)}
    replace(TABLE, **known).write(file)
    with pytest.raises(ValueError, match="latency.table: has no .*; make it with the search's space.operators"):
        study(tmp_path, **given)


def test_a_limit_below_the_fastest_cell_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match="budget.latency_ms: the space's cheapest cell has 102, got a limit of 101.67"):
        study(tmp_path, budget=dpc.Budget(latency_ms=101 + 2 / 3))
