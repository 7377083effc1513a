"""The cell that a setting names."""

from pathlib import Path

from data.system.paths import absolute
from models.spec import PUBLISHED_OPERATORS, CellError, CellSpec
from search.conf_files import CONF
from search.deciding.space import AnyCell, CellSpace


def read_cell(name: str, space: CellSpace | AnyCell, setting: str = "cell") -> CellSpec:
    """The cell in conf/cell/ called ``name``, or of a JSON file; a search's best.json is one, too.

    Args:
        setting: that names it, for the message.

    Raises:
        CellError: there is no such cell, it is malformed, or it is outside ``space``.
    """
    path = cell_file(name, setting)
    kinds = space.operator_kinds if isinstance(space, CellSpace) else PUBLISHED_OPERATORS
    cell = CellSpec.read(path, kinds)
    if isinstance(space, CellSpace):
        try:
            space.check(cell)
        except CellError as error:
            raise CellError(f"{error} (space=any accepts every cell)") from error
    return cell


def cell_file(name: str, setting: str) -> Path:
    """The JSON file of the cell in conf/cell/ called ``name``; else ``name`` is the file.

    Raises:
        CellError: there is neither.
    """
    named = CONF / "cell" / f"{name}.json"
    path = named if named.is_file() else absolute(name, setting)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in (CONF / "cell").glob("*.json")))
        found = f"{name} is a folder" if path.is_dir() else f"no file {name}"
        raise CellError(f"{setting}: {found}; accepted are a JSON file and the named cells {names}.")
    return path
