"""What trials leave in the folder for their checkpoints, and how it is forgotten."""

from pathlib import Path

from data.system.files import SUFFIX
from models.spec import CellSpec


def forget_checkpoints(checkpoints: Path, but_of: str | None = None) -> None:
    """Delete the states of all trials there, whole and half-written, but those of the search with this digest."""
    for path in checkpoints.glob("*"):
        is_kept = but_of is not None and f"-{but_of}." in path.name
        if path.suffix in (".safetensors", ".stored", SUFFIX) and not is_kept:
            path.unlink(missing_ok=True)


def forget_checkpoint(path: Path) -> None:
    """Delete the state of one trial, whole and half-written."""
    for file in [path, *path.parent.glob(f"{path.name}.*{SUFFIX}")]:
        file.unlink(missing_ok=True)


def hang_path(checkpoints: Path, cell: CellSpec) -> Path:
    """Where the traceback of a hung trial lies; the file is empty or missing where nothing hung."""
    return checkpoints / f"{cell.digest}.hung"
