"""Which MLflow tracker shows a search: a value, checked when it is made."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator

from data.system.errors import UserError
from data.system.uris import public_uri


class TrackingError(UserError):
    """A tracker that does not answer, refuses, or holds no such run.

    Attributes:
        is_permanent: whether it would say the same of a second try.
    """

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


def _is_where_files_may_lie(uri: str | None) -> str | None:
    """Of a SQLite file that a person names: a folder that is not there is a typo, or a disk that is not mounted."""
    if uri is not None and (file := _sqlite_file(uri)):
        if file.is_dir() or not file.parent.is_dir():
            raise ValueError(
                f"{file} is a folder."
                if file.is_dir()
                else f"there is no folder {file.parent}; make it, or mount what it is on."
            )
        place = file if file.exists() else file.parent
        if not os.access(place, os.W_OK):
            raise ValueError(f"you cannot write to {place}.")
    return uri


def _sqlite_file(uri: str) -> Path | None:
    scheme, _, path = uri.partition("://")
    return Path(path[1:].partition("?")[0]) if scheme.partition("+")[0] == "sqlite" and len(path) > 1 else None


def _has_host(uri: str) -> bool:
    try:
        return bool(urlsplit(uri).hostname) and (urlsplit(uri).port or 1) > 0
    except ValueError:  # the port is none
        return False


@dataclass(frozen=True, slots=True)
class Tracking:
    """Which MLflow tracker shows the runs.

    Attributes:
        uri: ``sqlite:////absolute/mlflow.db``, a server (``http://host:5000``) or a database (``postgresql://...``);
            None until ``resolved``.
        experiment: MLflow's name for the list that the runs are in; made when missing.
        artifacts: where a new experiment keeps its files: a folder or a store's URI. None leaves it to the server, and
            for a SQLite file is ``mlartifacts`` beside it.
    """

    uri: Annotated[str | None, AfterValidator(_is_where_files_may_lie)] = None
    experiment: str = "dpc-search"
    artifacts: str | None = None

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise ValueError("tracking.experiment must not be empty.")
        if self.uri is None:
            return
        scheme = self.uri.partition(":")[0].partition("+")[0]
        if scheme not in ("sqlite", "postgresql", "mysql", "mssql", "http", "https") or "://" not in self.uri:
            raise ValueError(
                f"tracking.uri must be sqlite:////absolute/mlflow.db, http(s)://host:port or postgresql://..., got "
                f"{public_uri(self.uri)!r} (MLflow no longer writes into plain folders)."
            )
        if self.is_server and not _has_host(self.uri):
            raise ValueError(f"tracking.uri must name a host, such as http://host:5000, got {public_uri(self.uri)!r}.")
        if scheme == "sqlite" and len(self.uri.partition("://")[2]) < 2:
            raise ValueError(f"tracking.uri needs a file: sqlite:////absolute/mlflow.db, got {self.uri!r}.")

    def resolved(self, folder: Path) -> Self:
        """Itself; where it names no tracker, a SQLite file in ``folder``."""
        return self if self.uri else replace(self, uri=f"sqlite:///{folder.absolute()}/mlflow.db")

    @property
    def sqlite_file(self) -> Path | None:
        """The database, where it is a file."""
        return _sqlite_file(self.uri) if self.uri else None

    @property
    def is_server(self) -> bool:
        return str(self.uri).startswith("http")

    @property
    def dashboard(self) -> str:
        """Where a browser finds it; for a database, once ``mlflow ui`` runs."""
        return public_uri(str(self.uri)).rstrip("/") if self.is_server else "http://127.0.0.1:5000"

    def __str__(self) -> str:
        return f"MLflow at {public_uri(str(self.uri))}"


def check_model_name(name: str) -> None:
    """Refuse what no registry of MLflow takes.

    Raises:
        ValueError: ``name`` is blank, or has a character that model URIs use.
    """
    if not name.strip() or set("/:") & set(name):
        raise UserError(f"register: a model's name must not be blank, or contain / or :, got {name!r}.")
