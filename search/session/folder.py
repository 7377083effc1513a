"""A folder that one command at a time works in, and that is told apart from others of its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from data.system.files import write_text
from data.system.locks import Lock, LockedError
from search.config_errors import ConfigError

ID_FILE = "id.txt"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands out of ``folder`` within the block; the lock lies beside it and dies with this process.

    Raises:
        ConfigError: another process is at work there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = Lock(folder.with_name(f"{folder.name}.lock"))
    except LockedError as holder:
        raise ConfigError(f"{folder}: another command is at work there ({holder}); wait, or choose another name.") from None
    with lock:
        yield


def id_of(folder: Path) -> str:
    """What tells ``folder`` from every other one, also from one at the same path in another container."""
    file = folder / ID_FILE
    if not file.is_file():
        write_text(file, f"{uuid4().hex}\n")
    return file.read_text().strip()
