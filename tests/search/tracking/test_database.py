"""Several processes begin with one tracker at the same time; or one was killed while it made the tables."""

import multiprocessing
import sqlite3
from contextlib import closing

import pytest

from search.tracking.client import Tracker
from search.tracking.settings import Tracking


def begin(file, tell):
    tracker = Tracker(Tracking(f"sqlite:///{file}", "cells"))
    tell.put(tracker.create("a search", 0.0, {}))


def tables(file):
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_four_at_once_on_a_fresh_folder_all_have_their_run(tmp_path):
    import mlflow  # noqa: F401 - once, and not in each process

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


@pytest.mark.parametrize("left", [(), ("_alembic_tmp_experiments", "experiments", "runs")])
def test_tables_that_a_kill_left_half_made_are_made_anew(tmp_path, left):
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection:
        for name in left:
            connection.execute(f"CREATE TABLE {name} (id INTEGER)")
    file.touch()
    assert Tracker(Tracking(f"sqlite:///{file}", "cells")).create("a search", 0.0, {})
    assert "alembic_version" in tables(file)


def test_tables_of_somebody_elses_stay(tmp_path):
    file = tmp_path / "notes.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    assert Tracker(Tracking(f"sqlite:///{file}", "cells")).create("a search", 0.0, {})
    assert tables(file) > {"notes", "alembic_version"}
