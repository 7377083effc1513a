"""What a terminal shows, however narrow it is."""

import io

import pytest
from rich.console import Console

from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded
from search.journal.record import SearchRecord
from search.views.console import Wide, plain_console, print_table
from search.views.leaderboard import leaderboard_table
from search.views.progress_bar import progress_bar
from search.views.training import TrainingDisplay

CELL = CellSpec((Branch(-1, AtrousConv((1, 6))),))
RECORD = SearchRecord(
    [
        SearchOpened("test", {}, {}, 0.0),
        CellProposed(0, CELL, 0, 356_160, 2_997_134_400, 0.0),
        RungReached(0, 1, 10, 0.815, 1.0, 5.0, False, "", 0.0),
        TrialEnded(0, Status.COMPLETED, "", 5.0, 0.0),
    ]
)


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_log_gets_no_codes_that_move_a_cursor_though_a_variable_calls_it_a_terminal(monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "1")
    with progress_bar(plain_console(), "features") as progress:
        progress(1, 2)
        progress(2, 2)
    assert "2/2" in (said := capsys.readouterr().out)
    assert "\x1b" not in said


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_numbers_and_digests_of_a_leaderboard_are_never_cut(columns):
    console = Console(width=columns, file=io.StringIO(), force_terminal=True, color_system=None)
    print_table(leaderboard_table(RECORD), console)
    shown = console.file.getvalue()
    assert shown.splitlines()[-1].split() == ["1", "81.50", "356K", "3.00B", "1", "completed", CELL.digest]
    assert columns == 40 or max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_table_in_a_display_is_wrapped_where_it_is_too_wide_and_nothing_of_it_is_lost(columns):
    console = Console(width=columns, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(Wide(leaderboard_table(RECORD)))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert "".join(lines).split()[-7:] == ["1", "81.50", "356K", "3.00B", "1", "completed", CELL.digest]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_numbers_of_progress_bars_are_never_cut(columns):
    console = Console(width=columns, file=io.StringIO(), color_system=None)
    with progress_bar(console, "features of search_train") as progress, TrainingDisplay(console, 30_000) as training:
        progress(100, 2400)
        training.trained(1500, 0.25)
        for bars in (progress._bar, training._bars):
            console.print(bars.get_renderable())
    shown = console.file.getvalue()
    assert {"100/2400", "1500/30000", "-:--:--"} <= set(shown.split())
    assert "…" not in shown
