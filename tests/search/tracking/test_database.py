"""Several processes begin with one tracker at the same time; or one was killed while it made the tables."""

import multiprocessing
import sqlite3
from contextlib import closing, nullcontext
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from sqlalchemy import create_engine, text

from search.tracking.client import Tracker
from search.tracking.database import check_tables, make_sqlite, one_maker
from search.tracking.settings import Tracking, TrackingError


@pytest.fixture(autouse=True)
def tables_as_mlflow_makes_them(monkeypatch):
    monkeypatch.setattr("search.tracking.client.make_sqlite", make_sqlite)


def begin(file, tell):
    tracker = Tracker(Tracking(f"sqlite:///{file}", "cells"))
    tell.put(tracker.create("a search", 0.0, {}))


def tables(file):
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_four_at_once_on_a_fresh_folder_all_have_their_run(tmp_path):
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - once, and not in each process

    context = multiprocessing.get_context("fork")
    told = context.Queue()
    processes = [context.Process(target=begin, args=(tmp_path / "new" / "mlflow.db", told)) for _ in range(4)]
    for process in processes:
        process.start()
    runs = {told.get(timeout=300) for _ in processes}
    for process in processes:
        process.join()
    assert len(runs) == 4
    assert {process.exitcode for process in processes} == {0}
    assert sorted(path.name for path in (tmp_path / "new").iterdir() if path.is_file()) == ["mlflow.db", "mlflow.db.lock"]


@pytest.mark.parametrize("folder", ["run#1", "run?x", "run%41"])
def test_a_data_base_whose_path_means_something_in_a_uri_is_kept(tmp_path, folder):
    file = tmp_path / folder / "mlflow.db"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
        connection.execute("INSERT INTO runs VALUES (1)")
        connection.commit()
    make_sqlite(file, Mock(side_effect=AssertionError))
    assert tables(file) == {"runs"}


@pytest.mark.parametrize("left", [(), ("_alembic_tmp_experiments", "experiments", "runs")])
def test_tables_that_a_kill_left_half_made_are_made_anew(tmp_path, left):
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection:
        for name in left:
            connection.execute(f"CREATE TABLE {name} (id INTEGER)")
    file.touch()
    assert Tracker(Tracking(f"sqlite:///{file}", "cells")).create("a search", 0.0, {})
    assert "alembic_version" in tables(file)


def test_tables_that_are_made_wait_for_no_disk_and_other_files_do(tmp_path):
    asked = []

    def make(uri):
        for engine in map(create_engine, (uri, f"sqlite:///{tmp_path}/other.db")):
            with engine.connect() as connection:
                asked.append(connection.execute(text("PRAGMA synchronous")).scalar())
            engine.dispose()

    make_sqlite(tmp_path / "mlflow.db", make)
    off, full = 0, 2
    assert asked == [off, full]


def test_tables_of_somebody_elses_stay(tmp_path):
    file = tmp_path / "notes.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    assert Tracker(Tracking(f"sqlite:///{file}", "cells")).create("a search", 0.0, {})
    assert tables(file) > {"notes", "alembic_version"}


def test_what_is_wrong_with_a_trackers_file_is_known_before_the_first_trial(tmp_path):
    tracking = Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", "cells")
    check_tables(tracking)
    tracker = Tracker(tracking)
    check_tables(tracking)
    tracker.client.delete_experiment(tracker.experiment)
    with pytest.raises(
        TrackingError, match="^tracking.experiment: .*'cells' was deleted; .* restore --experiment-id 1` brings"
    ):
        check_tables(tracking)
    check_tables(Tracking(tracking.uri, "other"))
    for version, cure in (("f5a4f2784254", "older MLflow; .*`mlflow db upgrade sqlite:///"), ("0123456789ab", "newer MLflow")):
        with closing(sqlite3.connect(tracking.sqlite_file)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [version])
            connection.commit()
        with pytest.raises(TrackingError, match=f"^tracking.uri: .*{cure}"):
            check_tables(tracking)


def test_a_trackers_file_that_is_no_data_base_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all, " * 100)
    with pytest.raises(TrackingError, match="^tracking.uri: .*mlflow.db is not an SQLite database"):
        check_tables(Tracking().resolved(tmp_path))


def test_a_trackers_file_in_use_or_without_tables_is_not_refused(tmp_path):
    file = tmp_path / "mlflow.db"
    check_tables(Tracking().resolved(tmp_path))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.commit()
        connection.execute("BEGIN EXCLUSIVE")
        check_tables(Tracking().resolved(tmp_path))
    assert tables(file) == {"alembic_version"}


def test_one_process_at_a_time_makes_the_tables_of_postgresql(monkeypatch):
    done = []
    connection = SimpleNamespace(execute=lambda statement, values: done.append((str(statement), values)))
    engine = SimpleNamespace(connect=lambda: nullcontext(connection), dispose=lambda: done.append("released"))
    monkeypatch.setattr("sqlalchemy.create_engine", lambda uri: engine)
    with one_maker("postgresql://host/db"):
        done.append("made")
    assert done == [("SELECT pg_advisory_lock(:key)", {"key": 0x647063}), "made", "released"]
