"""Files that a command may write over: its own of an earlier time, and no one else's."""

import json
from pathlib import Path

from data.system.errors import UserError
from data.system.files import write_text
from data.system.json_file import read_json

MADE = ".dpc-made.json"
"""Beside what was made: by which command, and how it was left."""


def check_free(setting: str, path: Path, command: str, overwrite: bool) -> None:
    """See that nothing of anybody else's lies at ``path``.

    Raises:
        UserError: something does that ``command`` has not made, or that was changed since.
    """
    is_taken = any(path.iterdir()) if path.is_dir() else path.exists()
    if is_taken and not overwrite and _made(path).get(path.name) not in ([command], [command, *_stamp(path)]):
        raise UserError(
            f"{setting}: {path} is there and was not made by dpc {command}, or was changed since; overwrite=true replaces it."
        )


def note_begun(folder: Path, command: str) -> None:
    """Until ``note_made``, what is put into ``folder`` is of ``command``, which may be killed and run again."""
    _note(folder, [command])


def note_made(path: Path, command: str) -> None:
    """Let the same command write ``path``, a file or a folder, again while it is as it is now."""
    _note(path, [command, *_stamp(path)])


def _note(path: Path, entry: list[object]) -> None:
    write_text(path.parent / MADE, json.dumps(_made(path) | {path.name: entry}))


def _made(path: Path) -> dict[str, list[object]]:
    try:
        return dict(read_json(path.parent / MADE))
    except (OSError, ValueError, TypeError):
        return {}


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file, or with the files below a folder."""
    status = [file.stat() for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return sum(one.st_size for one in status), max((one.st_mtime_ns for one in status), default=0)
