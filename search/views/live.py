"""What a person sees while a search runs: one live table, or plain lines where there is no terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from search.deciding.outcomes import Status
from search.findings.leaderboard import percent, quantity
from search.journal.events import Event, TrialEnded
from search.journal.record import SearchRecord

LINE_EVERY_S = 10.0


class SearchDisplay:
    """Follows a record; call it after each event. Everything shown is derived from the record."""

    def __init__(self, record: SearchRecord, trials: int, console: Console) -> None:
        self._record, self._trials, self._console = record, trials, console
        self._started_s = self._printed_s = time.monotonic()
        self._finished_before = record.num_ended
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Print a line from time to time where a live table cannot be drawn."""
        now_s = time.monotonic()
        is_last = isinstance(event, TrialEnded) and self._record.num_ended == self._trials
        if not self._console.is_terminal and (is_last or now_s - self._printed_s >= LINE_EVERY_S):
            self._printed_s = now_s
            cells = [f"{name} {value}" for name, value in self._facts() if name != "best cell"]
            self._console.print(", ".join(cells), highlight=False, soft_wrap=True)

    def _table(self) -> RenderableType:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in self._facts():
            table.add_row(name, value)
        return table

    def _facts(self) -> list[tuple[str, str]]:
        record = self._record
        ends = ", ".join(f"{record.ends[status]} {status}" for status in Status if record.ends[status])
        elapsed_s = time.monotonic() - self._started_s
        new = record.num_ended - self._finished_before
        facts = [
            ("trials", f"{record.num_ended}/{self._trials} done" + (f" ({ends})" if ends else "")),
            ("under way", str(record.num_proposed - record.num_ended)),
        ]
        if record.repeats:
            done = sum(trial.ended is not None for trial in tuple(record.repeats.values()))
            facts.append(("scored twice", f"{done}/{len(record.repeats)} done"))
        if record.left_out:
            facts.append(("left out", ", ".join(event.device for event in record.left_out)))
        best = record.best
        if best is not None and best.miou is not None:
            costs = f"{quantity(best.proposed.params)} params, {quantity(best.proposed.madds)} madds"
            facts.append(("best", f"{percent(best.miou)} mIoU at rung {len(best.rungs)}, {costs}"))
            facts.append(("best cell", str(best.cell)))
        if new:
            left_s = (self._trials - record.num_ended) * elapsed_s / new
            facts.append(("speed", f"{3600 * new / elapsed_s:.0f} trials/h"))
            facts.append(("left", f"about {clock(left_s)}"))
        return facts


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, seconds_left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"
