"""Settings that name files or folders."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from data.system.errors import UserError


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


def absolute(path: str | Path, setting: str) -> Path:
    """As a command's user means it: from the folder that it was started in, ``~`` is the home, ``..`` the folder above.

    A link stays one: it may lead elsewhere on each node of a cluster.

    Raises:
        UserError: the home is that of nobody; the message begins with ``setting``.
    """
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - absolute() leaves .. in, resolve() follows links
    except RuntimeError as error:
        raise UserError(f"{setting}: must lie in the home of a user of this machine, got {str(path)!r}.") from error
