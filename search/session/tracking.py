"""MLflow beside a running search: which tracker, what it is told, and how a person opens it."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from models.spec import CellSpec, Operator
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.session.hints import program, relative
from search.tracking.follower import TrackingThread, track
from search.tracking.settings import Tracking, TrackingError

CLOSE_TIMEOUT_S = 20.0


@contextmanager
def follow(
    journal: Journal,
    tracking: Tracking,
    operators: tuple[type[Operator], ...],
    folder: Path,
    console: Console,
    write_results: Callable[[SearchRecord], None],
) -> Iterator[TrackingThread]:
    """Keep the tracker up to date beside what runs within; say so where it is left behind.

    Args:
        write_results: renews the result files in ``folder`` from time to time.
    """

    def renewed(record: SearchRecord) -> list[Path]:
        write_results(record)
        return result_files(folder)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    thread = TrackingThread(journal.path, tracking, operators, renewed, say, lambda: journal.safe_bytes, draw)
    thread.start()
    try:
        yield thread
    finally:
        if not thread.close(CLOSE_TIMEOUT_S, result_files(folder), has_stopped=not journal.is_lost):
            cure = shlex.join([program("dpc"), "track", f"name={folder.name}"])
            console.print(f"MLflow is behind ({thread.last_error}); nothing is lost: `{cure}` catches up.", soft_wrap=True)


def attach(
    journal: Path, tracking: Tracking, operators: tuple[type[Operator], ...], files: Sequence[Path], console: Console
) -> None:
    """Keep further files with the run of a search that has ended; that a tracker fails is said."""
    try:
        track(journal, tracking, operators, files)
    except TrackingError as error:
        console.print(f"Not kept with {journal.parent.name}: {error}", soft_wrap=True, markup=False)


def draw(cell: CellSpec, path: Path) -> None:
    """A cell's diagram, for its run."""
    from search.views.figures.cell_diagram import draw_cell  # noqa: PLC0415 - matplotlib, for who draws

    draw_cell(cell, path)


def result_files(folder: Path) -> list[Path]:
    """What a search leaves for people, to be kept with its run."""
    return [folder / name for name in ("report.html", "leaderboard.csv", "best.json", "best_cell.png", "progress.png")]


def dashboard(tracking: Tracking, link: str) -> dict[str, str]:
    """Lines that open the dashboard: the command where there is no server, and the ``link`` to a search's cells."""
    cells = {"cells": link} if link else {}
    if not tracking.sqlite_file:
        return cells or {"dashboard": str(tracking)}
    uri = f"sqlite:///{relative(tracking.sqlite_file)}"
    return {"dashboard": shlex.join([program("mlflow"), "ui", "--backend-store-uri", uri]), **cells}
