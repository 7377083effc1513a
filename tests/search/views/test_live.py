"""What a person sees while a search runs, however narrow and low the terminal is."""

import io
import sys
from itertools import count
from random import Random
from types import SimpleNamespace

import pytest
from rich.console import Console

from search.deciding.outcomes import Status
from search.journal.events import CellProposed, DeviceLeftOut, RungReached, SearchOpened, TrialEnded
from search.journal.record import SearchRecord
from search.views import live
from search.views.live import SearchDisplay
from search.views.pace import Pace
from tests.search.journal.studies import SPACE, plan

LINES = {"report": "outputs/demo/report.html", "Ctrl-C": "stops safely; run the same command again to resume"}


@pytest.fixture
def clock(monkeypatch):
    """The seconds that it now is."""
    now_s = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now_s[0])
    return now_s


def search_of(trials, ended=()):
    """A search that has begun so many trials, of which these have ended as they say."""
    cells = [SPACE.sample(Random(number)) for number in range(trials)]
    events = [SearchOpened("test", {}, {}, 0.0)]
    for number, cell in enumerate(cells):
        events.append(CellProposed(number, cell, 0, 356_160, 2_997_134_400, 0.0))
    for number, status in ended:
        if status in (Status.COMPLETED, Status.STOPPED):
            events.append(RungReached(number, 3, 40, 0.815, 1.0, 5.0, False, "", 1.0))
        events.append(TrialEnded(number, status, "CUDA out of memory", 5.0, 1.0 + number))
    return SearchRecord(events)


def shown(display, columns, rows=40):
    console = Console(width=columns, height=rows, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(display)
    return console.file.getvalue()


def terminal(columns=80):
    return Console(width=columns, file=io.StringIO(), force_terminal=True, color_system=None)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_number_is_cut(columns, clock):
    record = search_of(4, [(0, Status.COMPLETED), (1, Status.FAILED)])
    display = SearchDisplay(record, plan(50), terminal(columns), lambda: LINES)
    display.run([2, 3])
    clock[0] = 65.0
    words = set(shown(display, columns).replace("(", " ").replace(",", " ").split())
    assert {"81.50", "356K", "3.00B", "2/50", "1:05", "#0002", "#0003", "0/3"} <= words
    assert "…" not in shown(display, columns)
    assert max(map(len, shown(display, columns).splitlines())) <= columns


def test_the_table_says_what_is_being_done_and_for_how_long_before_any_trial_runs(clock):
    display = SearchDisplay(search_of(4), plan(10), terminal())
    display.phase = "starting workers"
    clock[0] = 42.0
    first = shown(display, 80).splitlines()[0]
    assert first.startswith("starting workers")
    assert first.split()[-2:] == ["0/10", "0:42"]
    display.run([0, 1])
    assert shown(display, 80).startswith("searching")


def test_trials_that_run_and_trials_that_wait_are_counted_apart(clock):
    display = SearchDisplay(search_of(4), plan(10), terminal())
    assert "0, waiting 4" in shown(display, 80)
    display.run([0, 2])
    assert "2, waiting 2" in shown(display, 80)
    display.run([0, 1, 2, 3])
    assert "waiting" not in shown(display, 80)


def end_first(record, display, clock, now_s, status):
    ended = TrialEnded(0, status, "for the test", 5.0, 1.0)
    record.apply(ended)
    clock[0] = now_s
    display(ended)


def test_once_no_trial_runs_any_more_nothing_is_said_of_running_and_of_what_is_left(clock):
    record = search_of(4)
    display = SearchDisplay(record, plan(10), terminal())
    display.run([0, 1])
    end_first(record, display, clock, 10.0, Status.FAILED)
    assert {"running", "left"} <= set(shown(display, 80).split())
    display.finish("writing results")
    words = set(shown(display, 80).split())
    assert "writing" in words
    assert not {"running", "waiting", "left", "#0001"} & words


def test_a_search_whose_trials_take_hours_has_a_speed_above_0(clock):
    record = search_of(2)
    display = SearchDisplay(record, plan(10), terminal())
    display.run([0, 1])
    end_first(record, display, clock, 4 * 3600.0, Status.COMPLETED)
    assert "0.25 trials/h" in shown(display, 80)


def test_a_trial_that_runs_has_a_line_with_its_rung_and_its_last_score(clock):
    record = search_of(2)
    display = SearchDisplay(record, plan(10), terminal())
    display.run([0, 1])
    record.apply(RungReached(1, 1, 10, 0.4321, 1.0, 5.0, True, "", 1.0))
    clock[0] = 7.0
    rows = [line.split() for line in shown(display, 80).splitlines() if line.startswith("#")]
    assert [row[0] for row in rows] == ["#0000", "#0001"]
    assert rows[0][2:] == ["rung", "0/3", "-", "0:07"]
    assert rows[1][2:] == ["rung", "1/3", "43.21", "0:07"]


@pytest.mark.parametrize("rows", [12, 24, 40])
def test_of_hundreds_that_run_as_many_are_shown_as_fit(rows, clock):
    display = SearchDisplay(search_of(300), plan(500), terminal(), lambda: LINES)
    display.run(range(300))
    lines = shown(display, 80, rows).splitlines()
    running = [line for line in lines if line.startswith("#")]
    assert len(lines) == rows - 1
    assert f"and {300 - len(running)} more" in lines[-3]
    assert lines[-1].startswith("Ctrl-C")


def test_the_last_failure_is_there_with_its_reason_also_after_a_resume(clock):
    record = search_of(3, [(0, Status.FAILED)])
    display = SearchDisplay(record, plan(10), terminal())
    assert "#0000 failed: CUDA out of memory" in shown(display, 80)
    diverged = TrialEnded(2, Status.DIVERGED, "loss is nan", 5.0, 9.0)
    record.apply(diverged)
    display(diverged)
    assert "#0002 diverged: loss is nan" in shown(display, 80)


def test_a_device_that_is_left_out_is_named(clock):
    record = search_of(1)
    record.apply(DeviceLeftOut("GPU 3 of node-7", "device errors", 1.0))
    assert "GPU 3 of node-7" in shown(SearchDisplay(record, plan(10), terminal()), 80)


@pytest.mark.parametrize("is_dumb_terminal", [False, True])
def test_a_log_has_plain_lines_from_time_to_time_and_one_at_the_end(clock, monkeypatch, is_dumb_terminal):
    monkeypatch.setenv("TERM", "dumb")
    log, record = io.StringIO(), search_of(3)
    with SearchDisplay(record, plan(3), Console(file=log, width=60, force_terminal=is_dumb_terminal)) as display:
        for number, later_s in enumerate((15.0, 20.0, 24.0)):
            clock[0] = later_s
            ended = TrialEnded(number, Status.FAILED, "no disk", 5.0, later_s)
            record.apply(ended)
            display(ended)
    lines = log.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["trials 1/3 done (1 failed)", "trials 3/3 done (3 failed)"]
    assert not any(letter in log.getvalue() for letter in "\x1b━…")


def test_what_is_left_is_told_by_the_last_ends_and_not_by_how_long_the_search_took_to_start():
    pace = Pace()
    assert pace.left_s(10, 60.0) is None
    pace.run([0, 1], 60.0)  # a minute of starting
    pace.end(0, 70.0)
    pace.run([1, 2], 70.0)
    assert pace.left_s(3, 70.0) == pytest.approx((3 * 10 + 0 + 10) / 2)
    assert pace.per_hour(70.0) == pytest.approx(360)


def test_a_search_whose_trials_are_stopped_earlier_and_earlier_is_told_to_end_sooner():
    pace, now_s = Pace(), 0.0
    for trial, took_s in zip(count(), [100.0] * 20 + [10.0] * 20, strict=False):
        pace.run([trial], now_s)
        now_s += took_s
        pace.end(trial, now_s)
    assert pace.left_s(5, now_s) == pytest.approx(50)


def test_a_trial_that_waits_for_another_attempt_begins_anew():
    pace = Pace()
    pace.run([0, 1], 0.0)
    pace.run([1], 50.0)
    pace.run([0, 1], 60.0)
    assert pace.running(65.0) == {1: 65.0, 0: 5.0}


def test_the_last_trial_alone_is_waited_for_to_its_end():
    pace = Pace()
    pace.run([0, 1], 0.0)
    pace.end(0, 30.0)
    pace.run([1, 2], 30.0)
    pace.end(1, 40.0)
    assert pace.left_s(0, 40.0) == pytest.approx(25)


def test_in_a_notebook_one_table_below_the_cell_is_replaced_and_no_lines_are_printed(clock, monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append((raw, data))

    def display(data, raw, display_id):
        shown.append((raw, data))
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    console = Console(file=io.StringIO(), force_jupyter=True)
    record = search_of(4, [(0, Status.COMPLETED), (1, Status.FAILED)])
    with SearchDisplay(record, plan(50), console, lambda: {"report": "a <b>[bold]</b>.html"}) as view:
        for now_s in (0.1, 0.2, 20.0):
            clock[0] = now_s
            view.run([2, 3])
        view(TrialEnded(2, Status.COMPLETED, "", 5.0, 1.0))
    assert len(shown) == 3  # at its begin, after a second, at its end
    assert {raw for raw, _ in shown} == {True}
    assert "81.50" in shown[-1][1]["text/plain"]
    assert "#0003" in shown[-1][1]["text/html"]
    assert "&lt;b&gt;[bold]&lt;/b&gt;.html" in shown[-1][1]["text/html"]
    assert console.file.getvalue() == ""
