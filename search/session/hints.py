"""How a person writes a program or a path from where they are."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from data.datasets.contract import DatasetError
from search.overrides import Overrides


def program(name: str) -> str:
    """``name`` where it is this environment's on the PATH, else the file to run, such as ``.venv/bin/dpc``."""
    installed = Path(sys.executable).with_name(name)
    return name if shutil.which(name) == str(installed) else relative(installed)


def from_here(path: Path) -> str:
    """``path`` as ``relative`` gives it and as a shell takes it: a blank or a # in it is quoted."""
    return shlex.quote(relative(path))


def relative(path: Path) -> str:
    """``path``, relative where it lies below the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextmanager
def naming_check_data(given: Overrides, splits: Sequence[str]) -> Iterator[None]:
    """What is wrong with some splits of a data set is told with the command that shows all that is."""
    try:
        yield
    except DatasetError as error:
        command = shlex.join(
            [program("dpc"), "check-data", *given.arguments("experiment", "dataset"), f"splits=[{','.join(splits)}]"]
        )
        raise DatasetError(f"{error} See all that is wrong with: {command}") from error


def print_lines(lines: Mapping[str, str], console: Console) -> None:
    """What a person may do next: a title, and what to copy."""
    for title, text in lines.items():
        console.print(f"{title:<11}{text}", soft_wrap=True)
