"""``dpc track``: bring MLflow up to date with a search; and how a search does so while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from models.spec import Operator
from search.commands.hints import from_here, print_lines, program
from search.config import Config, ConfigError
from search.record import SearchRecord
from search.space import CellSpace
from search.tracking.follower import TrackingThread, track
from search.tracking.settings import Tracking

CLOSE_TIMEOUT_S = 20.0


def run(config: Config) -> int:
    """Tell the tracker what it lacks of a search."""
    name = config.value("name", str)
    folder = config.value("output_dir", Path).resolve() / name
    if not (folder / "journal.jsonl").is_file():
        raise ConfigError(f"name: no search {name!r}, {folder / 'journal.jsonl'} does not exist.")
    tracking = tracking_settings(config)
    shown = track(folder / "journal.jsonl", tracking, config.build("space", CellSpace).operator_kinds, result_files(folder))
    console = Console(highlight=False)
    console.print(f"{len(shown.record.trials)} trials of {name} are in {tracking}", soft_wrap=True)
    print_lines(dashboard(tracking, shown.link), console)
    return 0


def tracking_settings(config: Config) -> Tracking:
    """The tracker; where the config names none, a SQLite file in the output folder."""
    tracking = Tracking(config.optional("tracking.uri", str), config.value("tracking.experiment", str))
    return tracking.resolved(config.value("output_dir", Path).resolve())


@contextmanager
def follow(
    journal: Path,
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

    thread = TrackingThread(journal, tracking, operators, renewed)
    thread.start()
    try:
        yield thread
    finally:
        if not thread.close(CLOSE_TIMEOUT_S, result_files(folder)):
            cure = f"{program('dpc')} track name={folder.name}"
            console.print(f"MLflow is behind ({thread.last_error}); nothing is lost: `{cure}` catches up.", soft_wrap=True)


def result_files(folder: Path) -> list[Path]:
    """What a search leaves for people, to be kept with its run."""
    return [folder / name for name in ("report.html", "leaderboard.csv", "best.json", "best_cell.png", "progress.png")]


def dashboard(tracking: Tracking, link: str) -> dict[str, str]:
    """Lines that open the dashboard: the command where there is no server, and the ``link`` to a search's cells."""
    cells = {"cells": link} if link else {}
    if not tracking.sqlite_file:
        return cells or {"dashboard": str(tracking)}
    return {"dashboard": f"{program('mlflow')} ui --backend-store-uri sqlite:///{from_here(tracking.sqlite_file)}", **cells}
