"""What a person sees while a search runs: one live table, in a notebook too, or plain lines where there is neither."""

import time
from collections.abc import Callable, Collection, Mapping
from textwrap import shorten
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.journal.events import Event, TrialEnded
from search.journal.record import SearchRecord, TrialRecord
from search.views.notebook import NotebookTable
from search.views.pace import Pace
from search.wording import clock, percent, quantity

LINE_EVERY_S = 10.0


class SearchDisplay:
    """Follows a record; call it after each event, and say which trials run.

    Args:
        lines: where things lie and what a person can do, by title.

    Attributes:
        phase: what is being done, in a word or two.
    """

    def __init__(
        self, record: SearchRecord, plan: Plan, console: Console, lines: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self.phase = "starting"
        self._record, self._planned, self._rungs, self._repeats = record, plan.trials, len(plan.rungs), plan.repeats
        self._console, self._lines = console, lines
        self._started_s = self._printed_s = time.monotonic()
        self._pace, self._is_over = Pace(), False
        failures = [trial.ended for trial in record.finished if trial.ended and not trial.ended.status.has_score]
        self._failure = max(failures, key=lambda end: end.time_s, default=None)
        self._notebook = NotebookTable(self) if console.is_jupyter else None
        self._live = Live(get_renderable=lambda: self, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_interactive:
            self._live.start()
        self._show_in_notebook()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()
        self._show_in_notebook(at_once=True)

    def __call__(self, event: Event) -> None:
        """Take in what happened; print a line from time to time where a live table cannot be drawn."""
        now_s = time.monotonic()
        if isinstance(event, TrialEnded):
            self._pace.end(event.trial, now_s)
            self._failure = self._failure if event.status.has_score else event
        self._show_in_notebook()
        is_last = isinstance(event, TrialEnded) and self._record.num_ended == self._planned
        if not (self._console.is_interactive or self._notebook) and (is_last or now_s - self._printed_s >= LINE_EVERY_S):
            self._printed_s = now_s
            ends = f" ({self._ends})" if self._ends else ""
            said = [f"trials {self._record.num_ended}/{self._planned} done{ends}"]
            said += [f"{name} {value}" for name, value in self._facts(now_s).items()]
            self._console.print(", ".join(said), highlight=False, soft_wrap=True)

    def run(self, trials: Collection[int]) -> None:
        """Only these trials run now: the others that were begun wait for a place."""
        self._pace.run(trials, time.monotonic())
        if trials:
            self.phase = "scoring twice" if self._record.num_ended == self._planned else "searching"
        self._show_in_notebook()

    def finish(self, phase: str) -> None:
        """No trial runs any more; what is done instead."""
        self.phase, self._is_over = phase, True
        self._pace.run((), time.monotonic())

    def _show_in_notebook(self, at_once: bool = False) -> None:
        if self._notebook:
            self._notebook.show(time.monotonic(), at_once)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As much as the terminal has room for: of the trials that run, those that have been running for longest."""
        now_s = time.monotonic()
        above, below = self._header(now_s), self._footer()
        taken = sum(len(console.render_lines(part, options)) for part in (above, below))
        room = (options.height or console.height) - taken - 1
        yield Group(above, self._running(now_s, room), below)

    def _header(self, now_s: float) -> RenderableType:
        record, done = self._record, self._record.num_ended
        top = Table.grid(padding=(0, 2), expand=False)
        top.add_row(
            Text(self.phase, style="bold"),
            ProgressBar(total=max(self._planned, 1), completed=done, width=min(30, max(self._console.width - 36, 4))),
            f"{done}/{self._planned}",
            clock(now_s - self._started_s),
        )
        facts = ({"ended": self._ends} if self._ends else {}) | self._facts(now_s)
        best = record.best
        if best is not None:
            facts["best cell"] = str(best.cell)
        return Group(top, facts_table(facts))

    def _footer(self) -> RenderableType:
        failure = self._failure
        last = {"failed last": f"#{failure.trial:04d} {failure.status}: {shorten(failure.reason, 200)}"} if failure else {}
        return facts_table({**last, **self._lines()})

    def _running(self, now_s: float, room: int) -> RenderableType:
        """A line for each trial that runs, in so many lines."""
        running = self._pace.running(now_s)
        shown = list(running.items())[: room if len(running) <= room else max(room - 1, 0)]
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "left", "left", "right", "right"):
            table.add_column(justify=justify, no_wrap=True)
        for number, ran_s in shown:
            trial = self._record.trials[number]
            table.add_row(*running_row(trial, self._rungs), clock(ran_s))
        if len(shown) < len(running) and room > 0:
            table.add_row(f"and {len(running) - len(shown)} more")
        return table

    @property
    def _ends(self) -> str:
        return how_ended(self._record)

    def _facts(self, now_s: float) -> dict[str, str]:
        """What is known of the search, by title."""
        record = self._record
        running = len(self._pace.running(now_s))
        done = sum(trial.ended is not None for trial in tuple(record.repeats.values()))
        under_way = record.num_proposed - record.num_ended + len(record.repeats) - done
        facts = {}
        if under_way and not self._is_over:
            facts["running"] = f"{running}, waiting {under_way - running}" if under_way > running else str(running)
        if record.repeats:
            facts["scored twice"] = f"{done}/{max(self._repeats, len(record.repeats))} done"
        if record.left_out:
            facts["left out"] = ", ".join(event.device for event in record.left_out)
        best = record.best
        if best is not None:
            costs = f"{quantity(best.params)} params, {quantity(best.madds)} madds"
            facts["best"] = f"{percent(best.miou)} mIoU at rung {len(best.rungs)}, {costs}"
        speed, to_begin = self._pace.per_hour(now_s), self._planned + self._repeats - record.num_ended - done - running
        left_s = self._pace.left_s(max(to_begin, 0), now_s)
        if speed is not None and left_s is not None and not self._is_over:
            facts["speed"] = f"{speed:{'.0f' if speed >= 10 else '.2g'}} trials/h"
            facts["left"] = f"about {clock(left_s)}"
        return facts


def how_ended(record: SearchRecord) -> str:
    """How many trials ended in which way, such as ``20 completed, 2 stopped``; empty before one has."""
    return ", ".join(f"{record.ends[status]} {status}" for status in Status if record.ends[status])


def running_row(trial: TrialRecord, rungs: int) -> tuple[str, ...]:
    """Of a trial that runs: number, cell, rung, last score."""
    score = percent(trial.rungs[-1].miou) if trial.rungs else "-"
    return f"#{trial.number:04d}", trial.cell.digest[:8], f"rung {len(trial.rungs)}/{rungs}", score


def facts_table(facts: Mapping[str, str]) -> Table:
    """Titles, and what is known under each, which is never cut."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    return table
