"""Where a search stands: what ``dpc show`` prints of its journal."""

from collections.abc import Sequence

from rich.table import Table

from search.findings.course import Course
from search.findings.search_noise import search_noise
from search.journal.record import SearchRecord, TrialRecord
from search.journal.recorded import Recorded
from search.views.leaderboard import leaderboard_table
from search.views.live import how_ended, running_row
from search.wording import counted, in_time

SHOWN = 10
"""Trials under way that have a line."""


def standing(record: SearchRecord, course: Course, state: str, rows: int) -> list[str | Table]:
    """Lines and tables, from what matters most: counts, leaderboard, what has no score and why, what is under way."""
    parts: list[str | Table] = [_headline(record, course, state)]
    best = record.best
    if best is not None:
        parts += ["", leaderboard_table(record, rows), f"\nBest cell: {best.cell}"]
        if noise := search_noise(record):
            parts.append(noise.text())
    if course.reasons:
        parts += ["", _failures(course)]
    if under_way := record.running:
        parts += ["", _under_way(under_way, _rungs(record), "Under way" if state == "running" else "Interrupted")]
    return parts


def _headline(record: SearchRecord, course: Course, state: str) -> str:
    assert record.opened is not None
    done = f"{course.ended:,} of {counted(course.planned, 'trial')}" if course.planned else counted(course.ended, "trial")
    ends = f" ({how_ended(record)})" if course.ended else ""
    started = f", started {counted(course.starts, 'time')}" if course.starts > 1 else ""
    took = f", {in_time(course.trial_s)} of trials in {in_time(course.wall_s)}{started}"
    return f"{record.opened.name}: {state}, {done} done{ends}{took}"


def _failures(course: Course) -> Table:
    table = _titled("Without a score")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for status, reason, count in course.reasons:
        table.add_row(str(count), str(status), " ".join(reason.split()))
    return table


def _under_way(trials: Sequence[TrialRecord], rungs: int, title: str) -> Table:
    table = _titled(title)
    for trial in trials[:SHOWN]:
        table.add_row(*running_row(trial, rungs))
    if len(trials) > SHOWN:
        table.add_row(f"and {len(trials) - SHOWN:,} more")
    return table


def _rungs(record: SearchRecord) -> int:
    """Of a trial, at most: as the journal says, or as any trial has reached."""
    known = len(Recorded(record.opened).rungs) if record.opened else 0
    return known or max((len(trial.rungs) for trial in record.trials.values()), default=0)


def _titled(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
