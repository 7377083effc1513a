"""The tables of a tracker's own data base: made by one process at a time, and whole or not at all."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from data.system.files import whole_file
from data.system.locks import Lock

_POSTGRESQL_LOCK = 0x647063  # "dpc": whoever makes tables holds it


@contextmanager
def one_maker(uri: str) -> Iterator[None]:
    """Within, no other process of ours makes the tables of a PostgreSQL data base; nothing is done for other trackers."""
    if not uri.startswith("postgresql"):
        yield
        return
    from sqlalchemy import create_engine, text  # noqa: PLC0415 - MLflow's, loaded with it

    engine = create_engine(uri)
    try:
        with engine.connect() as connection:  # the lock ends with the connection, whatever ends that
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _POSTGRESQL_LOCK})
            yield
    finally:
        engine.dispose()


def make_sqlite(file: Path, make: Callable[[str], object]) -> None:
    """See that a SQLite file has all its tables; one that a kill, or two makers at once, left half made is made anew.

    What it showed is not lost: journals tell it again.

    Args:
        make: makes the tables of the data base at a URI.
    """
    if file.exists() and not _is_half_made(file):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with Lock(file.with_name(f"{file.name}.lock"), wait=True):
        if not file.exists() or _is_half_made(file):
            with whole_file(file) as partial:
                make(f"sqlite:///{partial}")


def _is_half_made(file: Path) -> bool:
    """Whether nothing is in it: no table yet, or no run, and the copies that MLflow works on when it changes its tables."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            has_runs = "runs" in tables and connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None
        except sqlite3.DatabaseError:  # no data base, or one that is in use: MLflow says what is wrong
            return False
    return not tables or (not has_runs and any(name.startswith("_alembic_tmp_") for name in tables))
