"""Settings that name files or folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True)
class NamesPath:
    """In the annotation of a text: it is a path, relative to where the command was started, unless it is one of some words.

    Attributes:
        is_folder: a folder must be there when a command reads its settings.
    """

    words: tuple[str, ...] = ()
    is_folder: bool = False


PathText = Annotated[str, NamesPath()]
"""A path in a setting that is kept as text. Who reads the setting gets it absolute: a worker runs in another folder."""
FolderText = Annotated[str, NamesPath(is_folder=True)]
"""Likewise, of a folder that a command reads."""


def absolute(path: str | Path) -> Path:
    """As a command's user means it: from the folder that it was started in, ``~`` is the home."""
    return Path.cwd() / Path(path).expanduser()
