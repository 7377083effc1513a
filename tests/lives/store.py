"""A bucket that is slow, does not answer, writes twice, lists late, and loses connections between a write and its answer."""

from dataclasses import dataclass, field, replace
from typing import Any

from data.store import StoreError
from data.system.files import whole_file
from tests.lives.disk import SimPath
from tests.lives.world import World


@dataclass
class Bucket:
    """What all machines see. ``writers``: who wrote each object last."""

    world: World
    objects: dict[str, bytes] = field(default_factory=dict)
    writers: dict[str, str] = field(default_factory=dict)
    down_until_s: float = -1.0
    trouble_at_s: float = -1000.0
    unlisted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SimStore:
    """As ``data.store.Store``."""

    bucket: Bucket
    path: str = ""

    def __str__(self) -> str:
        return f"sim://bucket/{self.path}"

    def __truediv__(self, name: str) -> "SimStore":
        return replace(self, path=f"{self.path}/{name}".strip("/"))

    def names(self) -> list[str]:
        self._ask()
        names = []
        for path in sorted(self.bucket.objects):
            folder, _, name = path.rpartition("/")
            if folder == self.path and self.bucket.unlisted.get(path, -1.0) < self.bucket.world.now_s:
                names.append(name)
        return names

    def read(self, name: str) -> bytes | None:
        self._ask()
        return self.bucket.objects.get((self / name).path)

    def write(self, name: str, content: bytes) -> None:
        self._ask()
        self._put((self / name).path, content)
        self._answer()

    def upload(self, path: SimPath, name: str) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError(f"{self / name}: {error}.") from None
        self.write(name, content)

    def download(self, name: str, path: SimPath) -> bool:
        content = self.read(name)
        if content is None:
            return False
        try:
            with whole_file(path) as partial, partial.open("w") as file:
                file.write(content)
        except OSError as error:
            raise StoreError(f"{self / name}: {error}.") from None
        return True

    def delete(self, name: str) -> None:
        self._ask()
        self.bucket.objects.pop((self / name).path, None)
        self._answer()

    def _put(self, path: str, content: bytes) -> None:
        bucket, world = self.bucket, self.bucket.world
        if path not in bucket.objects and (fault := world.meets("the store lists late")):
            bucket.unlisted[path] = world.now_s + 20 * fault.extent
        bucket.objects[path] = content
        bucket.writers[path] = world.process.name

    def _ask(self) -> None:
        bucket, world = self.bucket, self.bucket.world
        world.step()
        if fault := world.meets("the store is slow"):
            bucket.trouble_at_s = world.now_s + 20 * fault.extent
            world.pause(20 * fault.extent)
        if fault := world.meets("the store is down"):
            bucket.down_until_s = world.now_s + 200 * fault.extent
        if world.now_s < bucket.down_until_s:
            bucket.trouble_at_s = world.now_s
            raise StoreError(f"{self}: it does not answer.")

    def _answer(self) -> None:
        self.bucket.world.step()
        if self.bucket.world.meets("the store's answer is lost"):
            self.bucket.trouble_at_s = self.bucket.world.now_s
            raise StoreError(f"{self}: the connection was lost.")


def objects_below(bucket: Bucket, folder: str) -> dict[str, Any]:
    """What lies in a folder of the bucket, by name."""
    return {
        path.removeprefix(f"{folder}/"): content for path, content in bucket.objects.items() if path.startswith(f"{folder}/")
    }
