"""The tables of a tracker's own database: made by one process at a time, whole or not at all; what is wrong with them."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

from data.system.files import whole_file
from data.system.locks import Lock
from data.system.uris import public_uri
from search.tracking.settings import Tracking, TrackingError

_POSTGRESQL_LOCK = 0x647063  # "dpc": whoever makes tables holds it


@contextmanager
def one_maker(uri: str) -> Iterator[None]:
    """Within, no other process of ours makes the tables of a PostgreSQL database; nothing is done for other trackers."""
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
        make: makes the tables of the database at a URI.
    """
    if file.exists() and not _is_half_made(file):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with Lock(file.with_name(f"{file.name}.lock"), wait=True):
        if not file.exists() or _is_half_made(file):
            with whole_file(file) as partial, _unsynced(partial):
                make(f"sqlite:///{partial}")


@contextmanager
def _unsynced(file: Path) -> Iterator[None]:
    """Within, a SQLite file is written when the system likes: MLflow changes its tables 40 times, and waits for the disk else.

    The file is written for good when it is whole.
    """
    from sqlalchemy import event  # noqa: PLC0415 - MLflow's, loaded with it
    from sqlalchemy.engine import Engine  # noqa: PLC0415

    def leave_to_system(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection) and _file_of(connection) == str(file):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", leave_to_system)
    try:
        yield
    finally:
        event.remove(Engine, "connect", leave_to_system)


def _file_of(connection: sqlite3.Connection) -> str:
    return next(str(file) for _, name, file in connection.execute("PRAGMA database_list") if name == "main")


def _opened(file: Path) -> sqlite3.Connection:
    """To be read; a URI is needed for that, in which a path's ``#`` or ``?`` would mean something."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _is_half_made(file: Path) -> bool:
    """Whether nothing is in it: no table yet, or no run, and the copies that MLflow works on when it changes its tables."""
    with closing(_opened(file)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            has_runs = "runs" in tables and connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None
        except sqlite3.DatabaseError:  # no database, or one that is in use: MLflow says what is wrong
            return False
    return not tables or (not has_runs and any(name.startswith("_alembic_tmp_") for name in tables))


def check_tables(tracking: Tracking) -> None:
    """Say what MLflow would find wrong with a SQLite file, without MLflow: before a search, and not at its end.

    Raises:
        TrackingError: it is no database, is of another MLflow, or the experiment was deleted there.
    """
    file = tracking.sqlite_file
    if file is None or not file.is_file():
        return
    with closing(_opened(file)) as connection:
        try:
            version = _first(connection, "SELECT version_num FROM alembic_version")
            of_name = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'deleted'"
            gone = _first(connection, of_name, tracking.experiment)
        except sqlite3.OperationalError:  # it is in use, or its tables are not made yet
            return
        except sqlite3.DatabaseError as error:
            raise TrackingError(f"tracking.uri: {file} is not an SQLite database ({error}).") from error
    renewed_by = _mlflows_versions()
    if renewed_by and version is not None and renewed_by.get(version, "") is not None:
        raise TrackingError(f"tracking.uri: {tracking}: {other_schema(tracking, is_newer=version not in renewed_by)}.")
    if gone is not None:
        raise TrackingError(f"tracking.experiment: {deleted(tracking, gone)}")


def _first(connection: sqlite3.Connection, question: str, *values: str) -> str | None:
    row = connection.execute(question, values).fetchone()
    return None if row is None else str(row[0])


def _mlflows_versions() -> dict[str, str | None]:
    """Each version of the installed MLflow's tables, and the one that it was renewed to; None for the last."""
    mlflow = find_spec("mlflow")
    folder = Path(str(mlflow and mlflow.origin)).parent / "store" / "db_migrations" / "versions"
    texts = [file.read_text(encoding="utf-8") for file in folder.glob("*.py")]
    renewed: dict[str, str | None] = dict.fromkeys(name for text in texts for name in _named("revision", text))
    for text in texts:
        renewed |= {old: new for new in _named("revision", text) for old in _named("down_revision", text)}
    return renewed


def _named(what: str, text: str) -> list[str]:
    line = re.search(rf"^{what}\b.*$", text, re.M)
    return re.findall(r"[\"'](\w+)[\"']", line[0]) if line else []


def deleted(tracking: Tracking, experiment: str) -> str:
    """That an experiment was, and what brings it back."""
    store = public_uri(str(tracking.uri))
    return (
        f"{tracking}: its experiment {tracking.experiment!r} was deleted; tracking.experiment=... takes another one, and "
        f"`MLFLOW_TRACKING_URI={store} mlflow experiments restore --experiment-id {experiment}` brings it back."
    )


def other_schema(tracking: Tracking, is_newer: bool) -> str:
    """That tables were made by another MLflow, and what renews them."""
    if is_newer:
        return "its tables were made by a newer MLflow than this one; install that"
    store = public_uri(str(tracking.uri))
    return f"its tables were made by an older MLflow; make a copy of them, then `mlflow db upgrade {store}` renews them"
