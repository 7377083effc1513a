"""Digests of files: each file is read once, and again only after it was written."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.system.files import remember
from data.system.json_file import read_json

MEMORY = "digests.json"
"""Where digests of a folder's files are remembered, beside them."""

_READERS = 8
"""Threads that read: hashing does not hold Python's lock, and files may lie on a slow network."""


class FileDigests:
    """Digests of files, remembered in one file by path, size and times of change.

    The kernel sets a file's change time (ctime) at every write, whoever asks for another; so a remembered digest is that
    of what the file holds now.

    Args:
        memory: where digests are remembered; None remembers nothing.
        algorithm: as ``hashlib.file_digest`` takes it; None for the fastest, 32 hexadecimal digits. A memory holds one kind.
    """

    def __init__(self, memory: Path | None = None, algorithm: str | None = None) -> None:
        self._memory, self._algorithm = memory, algorithm or _blake2b_128
        self._known: dict[str, list[object]] = _load(memory)

    def of(self, paths: Sequence[Path]) -> list[str]:
        """The digest of each file, in hexadecimal digits.

        Raises:
            OSError: a file cannot be read; it names the file.
        """
        states = [(str(path.absolute()), _state(path)) for path in paths]
        unknown = {name: state for name, state in states if self._known.get(name, [None])[0] != state}
        if unknown:
            with ThreadPoolExecutor(_READERS) as readers:
                digests = readers.map(self._digest, unknown)
                self._known.update(
                    {name: [state, digest] for (name, state), digest in zip(unknown.items(), digests, strict=True)}
                )
            self._save()
        return [str(self._known[name][1]) for name, _ in states]

    def _digest(self, path: str) -> str:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, self._algorithm).hexdigest()

    def _save(self) -> None:
        if self._memory:
            remember(self._memory, json.dumps(self._known))


def pixels_digest(image_HWC: npt.NDArray[np.uint8]) -> str:
    """Of an image as it is seen, however its file holds it."""
    return hashlib.blake2b(image_HWC.tobytes(), digest_size=16).hexdigest()


def _load(memory: Path | None) -> dict[str, list[object]]:
    """What was remembered; a memory that is damaged only costs reading the files again."""
    try:
        known = read_json(memory) if memory else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _blake2b_128() -> Any:
    return hashlib.blake2b(digest_size=16)
