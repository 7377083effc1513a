"""Files and folders that settings name, and that a command writes: what cannot be written is found out before any work."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

MOST_BYTES = 200
"""Of a folder's name: file systems take 255, and locks and temporary files add to it."""
PICTURES = (".png", ".pdf", ".svg")


def check_name(name: str) -> str:
    """Raise a ValueError if ``name`` leads elsewhere, or is longer than file systems take."""
    is_plain = name.strip() == name and name not in ("", ".", "..") and "/" not in name and name.isprintable()
    if not is_plain or len(name.encode()) > MOST_BYTES:
        raise ValueError(f"must be one plain folder name of at most {MOST_BYTES} bytes, got {name[:MOST_BYTES]!r}.")
    return name


def _writable_folder(folder: Path) -> Path:
    check_made(folder)
    return folder


def _writable_file(file: Path) -> Path:
    if file.is_dir():
        raise ValueError(f"must be a file, {file} is a folder.")
    check_made(file.parent)
    return file


def _picture(file: Path) -> Path:
    if file.suffix not in PICTURES:
        raise ValueError(f"must end in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}, got {str(file)!r}.")
    return file


def check_made(folder: Path) -> None:
    """Raise a ValueError unless ``folder`` is there or can be made, and files can be written in it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"must be a folder, {there} is a file.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"must be a folder that you can write to; {there} is not.")


def check_searches(folder: Path) -> None:
    """Raise a ValueError unless ``folder``, an ``output_dir`` that is only read, is there."""
    if not folder.is_dir():
        raise ValueError(f"output_dir: must be a folder with searches, there is none at {folder}.")


FolderName = Annotated[str, AfterValidator(check_name)]
"""Of a folder in ``output_dir`` or in a search's: it leads nowhere else."""
OutputFolder = Annotated[Path, AfterValidator(_writable_folder)]
"""Made where it is missing."""
OutputFile = Annotated[Path, AfterValidator(_writable_file)]
"""Replaced where it is there; the folders above it are made."""
Picture = Annotated[OutputFile, AfterValidator(_picture)]
"""The suffix chooses the format."""
