"""Places that a URI names, such as a bucket: files by name, each there whole or not at all.

The only file that knows pyarrow's file systems.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from data.system.files import SUFFIX, whole_file
from data.system.uris import public_uri, without_secrets

ATTEMPTS = 3
"""At each request to S3: half a minute at most where nothing answers; pyarrow's own ten take hours."""
PATIENCE = timedelta(seconds=15)
"""With Google's storage; pyarrow's own is 15 minutes."""

_SCHEME = re.compile(r"(s3|gs|gcs|abfs|abfss|hdfs|viewfs|file|fsspec\+[a-z][a-z0-9+.-]*)://")
_COPY_BYTES = 2**23


class StoreError(OSError):
    """A store that does not answer, refuses, or fails: one line with the place and why."""


@dataclass(frozen=True, repr=False)
class Store:
    """A folder in a store. ``store / "name"`` is one below it; folders are there once something lies in them.

    S3, Google's and Azure's storage show a file once it is written to its end, and a local disk is given it by renaming. Other
    file systems may show a part after a kill, and any of them one that an exception cut short: who reads checks.

    Attributes:
        uri: ``s3://bucket/folder``, ``gs://``, ``abfs://``, ``hdfs://``, ``file:///folder``, or ``fsspec+<protocol>://`` for
            what fsspec knows, with the options of pyarrow's ``FileSystem.from_uri`` in its query.
        path: below it.

    Raises:
        ValueError: the URI is none of these.
    """

    uri: str
    path: str = ""

    def __post_init__(self) -> None:
        accepted = "accepted are s3://<bucket>/<folder>, gs://, abfs://, hdfs://, file:///<folder> and fsspec+<protocol>://"
        if not _SCHEME.match(self.uri):
            raise ValueError(f"store: {accepted}; got {public_uri(self.uri)!r}.")
        parts = urlsplit(self.uri)
        if parts.fragment:
            raise ValueError(f"store: a # would cut the folder's name; got {public_uri(self.uri)!r}.")
        if not f"{parts.netloc}{parts.path}".strip("/") or (parts.scheme == "file" and parts.netloc):
            raise ValueError(f"store: names no bucket or folder; {accepted}; got {public_uri(self.uri)!r}.")

    def __str__(self) -> str:
        """Where it is, without what opens it."""
        return "/".join(filter(None, (public_uri(self.uri).rstrip("/"), self.path)))

    def __repr__(self) -> str:
        return f"Store({self})"

    def __truediv__(self, name: str) -> "Store":
        return replace(self, path="/".join(filter(None, (self.path, name))))

    def names(self) -> list[str]:
        """The files in this folder, sorted; none where there is no such folder."""
        with self._errors_told("") as (files, at):
            found = files.get_file_info(fs.FileSelector(at, allow_not_found=True))
            return sorted(info.base_name for info in found if info.is_file and not info.base_name.endswith(SUFFIX))

    def read(self, name: str) -> bytes | None:
        """What ``name`` holds; None where there is no such file."""
        with self._errors_told(name) as (files, at):
            try:
                with files.open_input_stream(at, compression=None) as stream:
                    return bytes(stream.readall())
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Make or replace ``name``."""
        self._put(name, pa.py_buffer(content))

    def upload(self, path: Path, name: str) -> None:
        """As ``write``, with what a local file holds; it may be replaced or deleted meanwhile."""
        with pa.memory_map(str(path)) as file:
            self._put(name, file.read_buffer())

    def download(self, name: str, path: Path) -> bool:
        """Make or replace a local file, in one step; False where there is no such file in the store."""
        with self._errors_told(name) as (files, at):
            try:
                with (
                    files.open_input_stream(at, compression=None) as stream,
                    whole_file(path) as partial,
                    partial.open("wb") as file,
                ):
                    shutil.copyfileobj(stream, file, _COPY_BYTES)
            except FileNotFoundError:
                return False
        return True

    def delete(self, name: str) -> None:
        """Make sure that there is no ``name``."""
        with self._errors_told(name) as (files, at):
            try:
                files.delete_file(at)
            except FileNotFoundError:
                return

    def check(self) -> None:
        """Write, read and delete a file.

        Raises:
            StoreError: one of these cannot be done here.
        """
        name = f"probe-{uuid4().hex}"
        self.write(name, name.encode())
        if self.read(name) != name.encode():
            raise StoreError(f"{self}: what was written a moment ago is not there.")
        self.delete(name)

    def _put(self, name: str, content: pa.Buffer) -> None:
        """In one write: pyarrow publishes what a stream has got so far even where an exception closes it."""
        with self._errors_told(name) as (files, at):
            if files.type_name not in _WITHOUT_FOLDERS:
                files.create_dir(at.rpartition("/")[0], recursive=True)
            into = f"{at}.{uuid4().hex[:8]}{SUFFIX}" if files.type_name == "local" else at
            with files.open_output_stream(into, compression=None) as stream:
                stream.write(content)
            if into != at:
                files.move(into, at)

    @contextmanager
    def _errors_told(self, name: str) -> Iterator[tuple[fs.FileSystem, str]]:
        """The file system and the place of ``name`` in it; whatever they raise becomes a StoreError."""
        place = self / name if name else self
        try:
            files, base = _opened(self.uri)
            yield files, "/".join(filter(None, (base.rstrip("/"), place.path)))
        except Exception as error:
            raise StoreError(f"{place}: {_reason(error, self.uri)}.") from None


_WITHOUT_FOLDERS = ("s3", "gcs", "abfs")


@lru_cache
def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI, and the path in it. Without a region in its query, S3 is asked for the bucket's."""
    scheme, query = urlsplit(uri).scheme, urlsplit(uri).query
    if scheme in ("gs", "gcs") and "retry_limit_seconds" not in query:
        uri += f"{'&' if query else '?'}retry_limit_seconds={PATIENCE.total_seconds():g}"
    files, base = fs.FileSystem.from_uri(uri)
    if isinstance(files, fs.S3FileSystem):  # of all its options a URI takes some, and pickling names them all
        options: dict[str, Any] = files.__reduce__()[1][0]
        retry = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        files = fs.S3FileSystem(**options | {"retry_strategy": retry, "allow_delayed_open": True})
    return files, base


def _reason(error: Exception, uri: str) -> str:
    """Why, in part of a line and without secrets."""
    text = (str(error).splitlines() or [""])[0].partition(" (Request ID")[0] or type(error).__name__
    return without_secrets(text, uri)[:300].rstrip(". ")
