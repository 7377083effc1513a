"""The terminal that commands write to."""

from rich.console import Console
from rich.segment import Segments
from rich.table import Table

WIDEST = 1000
"""Columns that no table of ours needs."""


def plain_console() -> Console:
    """What users and libraries wrote is printed as it stands: square brackets in it are no markup, numbers no highlights."""
    return Console(highlight=False, markup=False)


def print_table(table: Table, console: Console) -> None:
    """Print a table as wide as it is. A terminal that is narrower wraps its lines, where Rich would cut 81.50 to 8..."""
    needed = table.__rich_measure__(console, console.options.update(width=WIDEST)).maximum
    options = console.options.update(width=max(console.width, needed))
    console.print(Segments(console.render(table, options)), crop=False)
