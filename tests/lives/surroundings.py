"""Puts a world in the place of clock, disk, threads and Ray, in the modules that ask for them by name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from types import SimpleNamespace
from typing import Any

import search.session.tracking as session_tracking
from data.system import disk as system_disk
from data.system import files as system_files
from search.journal import events, journal
from search.journal.remote import keeper, owner, segments
from search.running import attempts, kept_checkpoint, run, trial
from search.running.faults import diagnosis, held_places
from search.session import session, stored
from search.tracking import follower, projection
from tests.lives.cluster import SimRay, SimTune
from tests.lives.disk import Disks, SimLock, SimOs, SimPath
from tests.lives.tracker import MlflowServer
from tests.lives.training import read_metadata
from tests.lives.world import Task, World
from training import checkpoint


class SimTime:
    """As ``time``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now_s

    def time(self) -> float:
        return 1.7e9 + self._world.now_s + self._world.jumped_s

    def sleep(self, seconds: float) -> None:
        self._world.check_alive()
        self._world.pause(seconds)


class SimEvent:
    """As ``threading.Event``."""

    def __init__(self, world: World) -> None:
        self._world, self._is_set = world, False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for task in self._waiting:
            self._world.wake(task)

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._world.wait_for(self._waiting, timeout)
        return self._is_set


class SimMutex:
    """As ``threading.Lock``."""

    def __init__(self, world: World) -> None:
        self._world, self._is_held = world, False
        self._waiting: list[Task] = []

    def __enter__(self) -> None:
        while self._is_held:
            self._world.wait_for(self._waiting, None)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False
        for task in self._waiting:
            self._world.wake(task)


class InTurn:
    """As ``ThreadPoolExecutor``: one after the other."""

    def __init__(self, workers: int) -> None:
        """However many there are."""

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *_: object) -> None:
        """All is done."""

    map = staticmethod(map)


def as_task(kind: type, world: World) -> type:
    """A thread's class, whose thread is a task of the process that starts it."""

    class AsTask(kind):  # type: ignore[misc]
        def start(self) -> None:
            self.task = world.start(world.process, self.run)

        def join(self, timeout: float | None = None) -> None:
            if not self.task.is_over:
                world.wait_for(self.task.waiting, timeout)

        def is_alive(self) -> bool:
            return not self.task.is_over

    return AsTask


@contextmanager
def surrounded(
    world: World, disks: Disks, ray: SimRay, mlflow: MlflowServer, display: Callable[..., AbstractContextManager[Any]]
) -> Iterator[None]:
    """Within, the search lives in ``world``."""
    time, threads = SimTime(world), SimpleNamespace(Event=lambda: SimEvent(world), Lock=lambda: SimMutex(world))
    os = SimOs(disks)
    SimPath.disks = disks
    replaced = [
        (events, "time", time),
        (system_disk, "time", time),
        (owner, "time", time),
        (follower, "time", time),
        (attempts, "time", time),
        (system_files, "os", os),
        (journal, "os", os),
        (journal, "Path", SimPath),
        (journal, "Lock", SimLock),
        (projection, "Lock", SimLock),
        (session, "Lock", lambda: SimMutex(world)),
        (keeper, "threading", threads),
        (follower, "threading", threads),
        (follower, "POLL_S", 4.0),  # fewer looks, more lives
        (kept_checkpoint, "threading", threads),
        (kept_checkpoint, "_Uploads", as_task(kept_checkpoint._Uploads, world)),
        (checkpoint, "read_metadata", read_metadata),
        (stored, "KeeperThread", as_task(keeper.KeeperThread, world)),
        (session_tracking, "TrackingThread", as_task(follower.TrackingThread, world)),
        (segments, "ThreadPoolExecutor", InTurn),
        (segments, "SEGMENT_BYTES", 3000),
        (projection, "ThreadPoolExecutor", InTurn),
        (owner, "_began", ray.began),
        (owner, "_machine", ray.machine),
        (owner, "uuid4", lambda: SimpleNamespace(hex=f"{world.rng.getrandbits(64):016x}")),
        (owner, "os", SimpleNamespace(getpid=ray.process_number)),
        (system_files, "secrets", SimpleNamespace(token_hex=lambda size: f"{world.rng.getrandbits(32):08x}")),
        (run, "tune", SimTune(ray)),
        (run, "cloudpickle", SimpleNamespace(dumps=lambda task: task)),
        (run, "tempfile", SimpleNamespace(mkdtemp=lambda prefix: "/scratch/tune")),
        (run, "shutil", SimpleNamespace(rmtree=lambda path, ignore_errors: None)),
        (run, "Path", SimPath),
        (run, "os", os),
        (run, "check_cluster", lambda resources: None),
        (run, "most_pending", lambda resources, bound: bound),
        (attempts, "ray", ray),
        (attempts, "nodes", ray.nodes),
        (held_places, "ray", ray),
        (attempts, "is_growing", lambda: False),
        (held_places, "nodes", ray.nodes),
        (held_places, "is_growing", lambda: False),
        (trial, "threading", threads),
        (trial, "faulthandler", ray.faulthandler),
        (trial, "cloudpickle", SimpleNamespace(loads=copy)),
        (trial, "this_location", ray.this_location),
        (trial, "is_node_draining", ray.is_node_draining),
        (trial, "keep_freed_memory", lambda: None),
        (trial, "os", os),
        (diagnosis, "os", os),
        (diagnosis, "nodes", ray.nodes),
        (diagnosis, "draining_nodes", ray.draining_nodes),
        (diagnosis, "place_of_actor", ray.place_of_actor),
        (diagnosis, "sys", SimpleNamespace(modules={diagnosis._KERNELS_MODULE: None})),
        (session, "slots", ray.slots),
        (session, "join", lambda workplace: None),
        (session, "check_gpus", lambda resources: None),
        (session, "check_nodes", lambda *_: None),
        (session, "clean_nodes", lambda *_: None),
        (session, "SearchDisplay", display),
        (session_tracking, "draw", None),
    ]
    originals = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    kept_checkpoint._LOG.disabled = True  # stores fail here all the time
    try:
        with mlflow.as_module():
            yield
    finally:
        kept_checkpoint._LOG.disabled = False
        for module, name, value in originals:
            setattr(module, name, value)
