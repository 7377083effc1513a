"""Files that appear whole: whoever reads one sees the old content or the new, and never a part."""

import csv
import errno
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".partial"
"""Of a file that is being written; a kill may leave it behind."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write within the block. At its end that takes the place of ``path`` in one step; after an error it is gone.

    Any number of processes may write one ``path`` at once, since each has a temporary file of its own: the last one to end
    wins. The new file is on the disk before it has its name, and has the mode that the umask gives, whatever wrote it. The
    folders above it are made.

    Raises:
        OSError: it cannot be written; the error names ``path``, and what was there stays.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{SUFFIX}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("xb") as empty:
            mode = os.fstat(empty.fileno()).st_mode
        yield partial
        with partial.open("rb+") as written:
            os.fchmod(written.fileno(), mode)  # safetensors makes files that only their owner may read
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial)):  # a full disk's names none
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Make or replace ``path`` in one step, as ``whole_file``; in UTF-8, whatever the shell's locale is."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Make or replace a table in one step. Numbers are written as such, fractions to six digits; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([round(float(value), 6) if isinstance(value, float) else value for value in row] for row in rows)
    write_text(path, text.getvalue())


def remember(path: Path, text: str) -> None:
    """``write_text`` of what can be found out again: nothing where this user may not write, or nobody, as on a read-only mount.

    Raises:
        OSError: the disk is full, or fails.
    """
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def sync_folder(folder: Path) -> None:
    """Put the names of the files in ``folder`` on the disk: synced content is lost with a name that was not.

    Does nothing on file systems that cannot.

    Raises:
        OSError: the disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
