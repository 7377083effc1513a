"""Files that a command may write over: its own of an earlier time, and no one else's."""

import json
from pathlib import Path

from data.system.errors import UserError
from data.system.files import write_text

MADE = ".dpc-made.json"
"""Beside what was made: by which command, and how it was left."""


def check_free(setting: str, path: Path, command: str, overwrite: bool) -> None:
    """See that nothing of anybody else's lies at ``path``.

    Raises:
        UserError: something does that ``command`` has not made, or that was changed since.
    """
    is_taken = any(path.iterdir()) if path.is_dir() else path.exists()
    if is_taken and not overwrite and _made(path).get(path.name) != [command, *_stamp(path)]:
        raise UserError(f"{setting}: {path} is there and was not made by dpc {command}; overwrite=true replaces it.")


def note_made(path: Path, command: str) -> None:
    """Let the same command write ``path``, a file or a folder, again."""
    write_text(path.parent / MADE, json.dumps(_made(path) | {path.name: [command, *_stamp(path)]}))


def _made(path: Path) -> dict[str, list[object]]:
    try:
        return dict(json.loads((path.parent / MADE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file; a folder is known by its name."""
    status = path.stat()
    return () if path.is_dir() else (status.st_size, status.st_mtime_ns)
