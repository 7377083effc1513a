"""What all nodes of a cluster must share, checked from each of them before it is given work."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import ray

from data.digests import MEMORY, FileDigests
from data.system.files import SUFFIX
from data.system.locks import Lock, LockedError
from search.running.nodes.every_node import on_every_node, this_node
from search.running.resources import Resources

MAX_FILES = 64
"""Of a folder by which it is known: spread over all that it holds, so that an empty or half copied one is none."""
_CURE = "every node must share it, under the same path (docs/cluster.md, Shared storage)"


class SharedFolderError(OSError):
    """A node that does not see, or cannot use, what all nodes must share."""


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A folder or a file that every node must see under the same path.

    Attributes:
        setting: that names it.
        files: some below a folder, each with its size, all of which a node must see; empty for a folder that is not filled yet.
        digest: of a file; None for a folder.
    """

    setting: str
    path: Path
    files: tuple[tuple[str, int], ...] = ()
    digest: str | None = None

    @classmethod
    def seen(cls, setting: str, path: Path) -> Self:
        """As this process sees it."""
        if path.is_file():
            return cls(setting, path, digest=_digest(path))
        names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if _is_lasting(file))
        chosen = [names[index * len(names) // MAX_FILES] for index in range(MAX_FILES)] if len(names) > MAX_FILES else names
        return cls(setting, path, tuple((name, (path / name).stat().st_size) for name in chosen))

    def check(self) -> None:
        """Raise a SharedFolderError if this node does not see the same."""
        if not self.path.exists():
            raise self.trouble("cannot see")
        if self.digest is not None and self.digest != _digest(self.path):
            raise self.trouble("sees another file of the name")
        for name, size in self.files:
            file = self.path / name
            if not file.exists():
                raise self.trouble(f"lacks {name} of")
            if file.stat().st_size != size:
                raise self.trouble(f"sees another {name} in")

    def trouble(self, what: str, why: OSError | None = None) -> SharedFolderError:
        """What this node cannot do."""
        reason = f" ({why.strerror})" if why else ""
        return SharedFolderError(f"{self.setting}: {this_node()} {what} {self.path}{reason}; {_CURE}.")


def check_shared(written: Sequence[SharedPath], read: Sequence[SharedPath], resources: Resources | None = None) -> None:
    """See that each node of the connected cluster can work with the same folders and files as this process.

    Args:
        resources: of a trial: only nodes that can hold one need them.
        written: folders that nodes write to and lock files in; they are made where they are missing.
        read: what nodes only read.

    Raises:
        SharedFolderError: names the node, the path, and what it cannot do.
    """
    with ExitStack() as stack:
        probes = [stack.enter_context(_probe(folder)) for folder in written]
        try:
            for node, answers in on_every_node(partial(_look, probes, read), resources):
                for probe, answer in zip(probes, answers, strict=True):
                    if not probe.file.with_name(answer).exists():
                        what = f"writes to {probe.folder.path} what the driver does not see"
                        raise SharedFolderError(f"{probe.folder.setting}: {node} {what}; {_CURE}.")
        except SharedFolderError:
            on_every_node(partial(_forget, probes), resources)  # a node with a folder of its own has them there
            raise


@dataclass(frozen=True, slots=True)
class _Probe:
    """A file that the driver has written to a folder, beside a lock that it holds."""

    folder: SharedPath
    file: Path
    content: str

    @property
    def lock(self) -> Path:
        return self.file.with_name(f"{self.file.name}-lock")


@contextmanager
def _probe(folder: SharedPath) -> Iterator[_Probe]:
    """A probe in ``folder``; it and the answers to it are gone afterwards."""
    probe = _Probe(folder, folder.path / f".probe-{secrets.token_hex(8)}", secrets.token_hex(8))
    try:
        with _naming_trouble(folder, "cannot write to"):
            folder.path.mkdir(parents=True, exist_ok=True)
            probe.file.write_text(probe.content)
        with _naming_trouble(folder, "cannot lock files in"):
            lock = Lock(probe.lock)
        with lock:
            yield probe
    finally:
        _forget([probe])


def _look(probes: Sequence[_Probe], read: Sequence[SharedPath]) -> list[str]:
    """A node's part: find each probe, and answer it with a file beside it, whose name is returned."""
    for path in read:
        path.check()
    return [_answered(probe) for probe in probes]


def _answered(probe: _Probe) -> str:
    folder, answer = probe.folder, f"{probe.file.name}-{ray.get_runtime_context().get_node_id()}"
    folder.check()
    with _naming_trouble(folder, "cannot read"):
        is_same = probe.file.exists() and probe.file.read_text() == probe.content
    if not is_same:
        raise folder.trouble("sees another folder of the name")
    with _naming_trouble(folder, "cannot write to"):
        probe.file.with_name(answer).write_text(probe.content)
    with _naming_trouble(folder, "cannot lock files in"), suppress(LockedError), Lock(probe.lock):
        raise folder.trouble("can take a file lock that the driver holds in")
    return answer


def _forget(probes: Sequence[_Probe]) -> None:
    """Delete what this node sees of the probes and their answers."""
    for probe in probes:
        for path in probe.folder.path.glob(f"{probe.file.name}*"):
            with suppress(OSError):
                path.unlink()


@contextmanager
def _naming_trouble(folder: SharedPath, what: str) -> Iterator[None]:
    """Makes any other error one that says what this node cannot do."""
    try:
        yield
    except SharedFolderError:
        raise
    except OSError as error:
        raise folder.trouble(what, error) from error


def _is_lasting(path: Path) -> bool:
    """Whether a file is one that nobody deletes or writes to while a command runs."""
    return path.name != MEMORY and path.suffix not in (".lock", SUFFIX) and not path.name.startswith(".") and path.is_file()


_READ = FileDigests()
"""A process reads a file once, and again after it was written to."""


def _digest(path: Path) -> str:
    return _READ.of([path])[0]
