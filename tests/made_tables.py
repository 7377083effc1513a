"""MLflow changes the tables of a new database forty times, a second of CPU: in tests once a run, and each begins as a copy."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

from search.tracking import client
from search.tracking.database import make_sqlite
from tests.ray_workers import FOLDER


def use() -> None:
    client.make_sqlite = _copied


def _copied(file: Path, make: Callable[[str], object]) -> None:
    made = Path(os.environ[FOLDER], "mlflow.db")
    make_sqlite(made, make)
    make_sqlite(file, lambda uri: copyfile(made, uri.removeprefix("sqlite:///")))
