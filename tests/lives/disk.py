"""Disks in memory that fail as disks do: full, with errors, and with what was not synced lost when the power is cut."""

import errno
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, ClassVar, Self

from data.system.locks import LockedError
from tests.lives.world import Process, World


class Inode:
    """A file's content, and how much of it would survive a power cut."""

    def __init__(self) -> None:
        self.content, self.synced = bytearray(), b""
        self.links, self.mtime_ns = 0, 0


class Disks:
    """Of all machines: files by ``<machine>:<path>``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files: dict[str, Inode] = {}
        self.open_files: list[Inode | str] = []
        self.locks: dict[str, Process] = {}
        self._kept: dict[str, Inode] = {}
        self._unsynced_names: list[tuple[str, Inode | None]] = []
        self._full_until_s: dict[str, float] = {}
        world.on_power_cut = self.lose

    def inode(self, path: str) -> Inode:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    def put(self, path: str, content: bytes) -> None:
        """A file that something beside the search has written, for good."""
        inode = self.files[path] = self._kept[path] = Inode()
        inode.content += content
        inode.synced, inode.links = content, 1

    def name(self, path: str, inode: Inode | None) -> None:
        """Give a file its name, or take the name away."""
        if path in self.files:
            self.files.pop(path).links -= 1
        if inode is not None:
            self.files[path] = inode
            inode.links += 1
        self._unsynced_names.append((path, inode))

    def keeps(self, path: str) -> bool:
        """Whether a power cut would leave the file there."""
        return self._kept.get(path) is self.files.get(path)

    def write(self, inode: Inode, path: str, data: bytes) -> int:
        """At the end of a file, as much as there is room for."""
        world = self.world
        world.step()
        machine = _machine(path)
        if fault := world.meets("the disk is full"):
            self._full_until_s[machine] = world.now_s + 30 * fault.extent
            room = int(len(data) * fault.extent)
            inode.content += data[:room]
            if room:
                return room
        if world.now_s < self._full_until_s.get(machine, -1.0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault := world.meets("a write fails"):
            inode.content += data[: int(len(data) * fault.extent)]
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if world.process.kind == "driver" and (fault := world.meets("the driver is killed while it writes")):
            inode.content += data[: int(len(data) * fault.extent)]
            world.kill(world.process)
        inode.content += data
        inode.mtime_ns = round(1e9 * world.now_s) + world.steps
        world.step()
        return len(data)

    def sync(self, descriptor: int) -> None:
        """What a file holds, or the names in a folder, survive from now on."""
        world = self.world
        world.step()
        inode = self.open_files[descriptor]
        if world.meets("a sync fails"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if isinstance(inode, Inode):
            inode.synced = bytes(inode.content)
        else:
            for path, named in self._unsynced_names:
                if _machine(path) == _machine(inode):
                    self._keep(path, named)
            self._unsynced_names = [one for one in self._unsynced_names if _machine(one[0]) != _machine(inode)]
        world.step()

    def lose(self, machine: str) -> None:
        """The power is cut: of what was not synced a part survives, in the order in which it was written."""
        rng = self.world.rng
        of_machine = [one for one in self._unsynced_names if _machine(one[0]) == machine]
        for path, inode in of_machine[: rng.randrange(len(of_machine) + 1)]:
            self._keep(path, inode)
        self._unsynced_names = [one for one in self._unsynced_names if _machine(one[0]) != machine]
        for path in [path for path in self.files if _machine(path) == machine]:
            del self.files[path]
        for path, inode in self._kept.items():
            if _machine(path) == machine:
                self.files[path] = inode
                inode.content = bytearray(_survives(inode, rng))
                inode.synced, inode.links = bytes(inode.content), 1

    def vanish(self, machine: str) -> None:
        """A machine goes with its disk."""
        for names in (self.files, self._kept):
            for path in [path for path in names if _machine(path) == machine]:
                names.pop(path).links = 0
        self._unsynced_names = [one for one in self._unsynced_names if _machine(one[0]) != machine]

    def _keep(self, path: str, inode: Inode | None) -> None:
        if inode is None:
            self._kept.pop(path, None)
        else:
            self._kept[path] = inode


def _survives(inode: Inode, rng: Any) -> bytes:
    content, synced = bytes(inode.content), inode.synced
    if content.startswith(synced):
        return content[: len(synced) + rng.randrange(len(content) - len(synced) + 1)]
    return rng.choice([content, synced])


def _machine(path: str) -> str:
    return path.partition(":")[0]


class SimPath(PurePosixPath):
    """As much of a ``Path`` as the search uses, on the disks of the world that lives."""

    disks: ClassVar[Disks]

    @property
    def _key(self) -> str:
        return f"{self.disks.world.process.disk}:{self}"

    def exists(self) -> bool:
        self.disks.world.step()
        return self._key in self.disks.files

    is_file = exists

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders are there once something lies in them."""

    def stat(self) -> SimpleNamespace:
        self.disks.world.step()
        inode = self.disks.inode(self._key)
        return SimpleNamespace(st_size=len(inode.content), st_mtime_ns=inode.mtime_ns)

    def open(self, mode: str = "r", buffering: int = -1) -> "SimFile":
        self.disks.world.step()
        if "x" in mode or "w" in mode or ("a" in mode and self._key not in self.disks.files):
            if "w" in mode and self._key in self.disks.files:
                self.disks.files[self._key].content.clear()
            else:
                self.disks.name(self._key, Inode())
        return SimFile(self.disks, self._key, "b" not in mode)

    def read_bytes(self) -> bytes:
        self.disks.world.step()
        return bytes(self.disks.inode(self._key).content)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        with self.open("w") as file:
            file.write(text.encode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        self.disks.world.step()
        if self._key in self.disks.files:
            self.disks.name(self._key, None)
        elif not missing_ok:
            self.disks.inode(self._key)

    def replace(self, target: "SimPath") -> None:
        self.disks.world.step()
        inode = self.disks.inode(self._key)
        self.disks.name(target._key, inode)
        self.disks.name(self._key, None)

    def glob(self, pattern: str) -> Iterator["SimPath"]:
        self.disks.world.step()
        names = [SimPath(path.partition(":")[2]) for path in self.disks.files if path.startswith(f"{self._key}/")]
        return iter([path for path in names if path.match(pattern)])


class SimFile:
    """An open file. What is written goes to its end."""

    def __init__(self, disks: Disks, path: str, is_text: bool) -> None:
        self._disks, self._path, self._is_text, self._at = disks, path, is_text, 0
        self._inode = disks.inode(path)
        disks.open_files.append(self._inode)
        self._descriptor = len(disks.open_files) - 1

    def fileno(self) -> int:
        return self._descriptor

    def tell(self) -> int:
        return len(self._inode.content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = len(self._inode.content) if whence == os.SEEK_END else offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        self._disks.world.step()
        return bytes(self._inode.content[self._at :] if size < 0 else self._inode.content[self._at : self._at + size])

    def write(self, data: bytes | str) -> int:
        return self._disks.write(self._inode, self._path, data.encode() if isinstance(data, str) else data)

    def truncate(self, size: int) -> None:
        self._disks.world.step()
        del self._inode.content[size:]

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SimOs:
    """As much of ``os`` as the search asks for its files."""

    SEEK_END, O_RDONLY, devnull = os.SEEK_END, os.O_RDONLY, "/nowhere/null"
    strerror = staticmethod(os.strerror)

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._environments: defaultdict[Process, dict[str, str]] = defaultdict(dict)

    @property
    def environ(self) -> dict[str, str]:
        return self._environments[self._disks.world.process]

    def open(self, path: SimPath, flags: int) -> int:
        self._disks.open_files.append(path._key)
        return len(self._disks.open_files) - 1

    def close(self, descriptor: int) -> None:
        """Nothing is held."""

    def fstat(self, descriptor: int) -> SimpleNamespace:
        inode = self._disks.open_files[descriptor]
        assert isinstance(inode, Inode)
        return SimpleNamespace(st_nlink=inode.links, st_mode=0o644)

    def fchmod(self, descriptor: int, mode: int) -> None:
        """Nobody looks at modes."""

    def fsync(self, descriptor: int) -> None:
        self._disks.sync(descriptor)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._disks.world.step()
        inode = self._disks.open_files[descriptor]
        assert isinstance(inode, Inode)
        del inode.content[size:]


class SimLock:
    """A lock file: it dies with its process."""

    def __init__(self, path: SimPath, *, wait: bool = False) -> None:
        disks = SimPath.disks
        disks.world.step()
        self._locks, self._path = disks.locks, path._key
        holder = self._locks.get(self._path)
        if holder is not None and holder.is_alive:
            raise LockedError(holder.name)
        self._process = self._locks[self._path] = disks.world.process

    def release(self) -> None:
        if self._locks.get(self._path) is self._process:
            del self._locks[self._path]
