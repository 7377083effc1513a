"""The terminal that commands write to."""

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment, Segments
from rich.table import Table

WIDEST = 1000
"""Columns that no table of ours needs."""


def plain_console() -> Console:
    """What users and libraries wrote is printed as it stands: square brackets in it are no markup, numbers no highlights.

    A file is no terminal even where FORCE_COLOR or TTY_COMPATIBLE calls it one: nothing can move in it.
    """
    return Console(highlight=False, markup=False, force_terminal=None if sys.stdout.isatty() else False)


def table_of(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str] = (), title: str | None = None
) -> Table:
    """Every column is as wide as what it holds. Those named in ``left`` hold words, the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in header:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def print_table(table: Table, console: Console) -> None:
    """Print a table as wide as it is. A terminal that is narrower wraps its lines, where Rich would cut 81.50 to 8..."""
    console.print(Segments(console.render(table, _as_wide(table, console, console.options))), crop=False)


@dataclass(frozen=True)
class Wide:
    """A table as wide as it is, for a display that cuts lines which are too long: they are wrapped here."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self.table, _as_wide(self.table, console, options), pad=False):
            length = max(Segment.get_line_length(line), 1)
            for part in Segment.divide(line, [*range(options.max_width, length, options.max_width), length]):
                yield from part
                yield Segment.line()


def _as_wide(table: Table, console: Console, options: ConsoleOptions) -> ConsoleOptions:
    """Options for a table that is not cut. Its columns move together before its lines would have to be wrapped."""
    as_wide = options.update(width=WIDEST)
    if console.is_terminal and table.__rich_measure__(console, as_wide).maximum > options.max_width:
        table.padding = (0, 1, 0, 0)
    return options.update(width=max(options.max_width, table.__rich_measure__(console, as_wide).maximum))
