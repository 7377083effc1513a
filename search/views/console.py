"""The terminal that commands write to."""

from rich.console import Console


def plain_console() -> Console:
    """What users and libraries wrote is printed as it stands: square brackets in it are no markup, numbers no highlights."""
    return Console(highlight=False, markup=False)
