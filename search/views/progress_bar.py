"""Progress bars of commands."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column


def bar_columns() -> tuple[ProgressColumn, ...]:
    """Title, bar, how many of how many, time left. On a narrow terminal the title is folded: numbers are never cut."""
    return (
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
        BarColumn(),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
    )


class LazyBar:
    """A progress bar that appears with the first news."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar, self._title = bar, title

    def __call__(self, done: int, total: int) -> None:
        if not self._bar.tasks:
            self._bar.add_task(self._title, total=total)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, completed=done)


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[LazyBar]:
    """A progress bar for a function that reports how much is done and how much there is."""
    bar = Progress(*bar_columns(), console=console)
    try:
        yield LazyBar(bar, title)
    finally:
        if bar.tasks:
            bar.stop()
