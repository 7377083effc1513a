"""Ray's workers, forked from a process that has imported PyTorch and what Ray needs: most of what a small search costs.

A raylet of the tests runs this file in the place of Ray's ``setup_worker.py``, once for each worker (``use``). It imports
nothing that takes time, and hands its arguments, environment and streams to the process that forks. The first one starts that
process, which ends with the run of the tests. Ray itself is imported by each worker: it keeps what it reads then, its job
and its raylet, for good.
"""

import argparse
import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

FOLDER = "DPC_TESTS_RAY_WORKERS"
"""Variable with the folder of the run's socket, which is named after the process that the run is."""
IMPORTED = (
    "torch._dynamo",  # which torch.optim imports with its first step
    "asyncio",
    "click",
    "filelock",
    "fsspec",
    "google.protobuf.json_format",
    "jsonschema",
    "pandas",
    "pdb",
    "pyarrow.fs",
    "pydantic.dataclasses",
    "requests",
    "rich.live",
    "tqdm",
    "unittest.mock",
    "yaml",
)
LOOK_S = 5


def use() -> None:
    """Whatever Ray this process starts, its workers are forked."""
    from ray._private import ray_constants

    ray_constants.SETUP_WORKER_FILENAME = __file__


def main() -> None:
    address = Path(os.environ[FOLDER], "socket")
    request = {"arguments": sys.argv[1:], "variables": dict(os.environ), "folder": str(Path.cwd())}
    with _connected(address) as server:
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        server.sendall(json.dumps(request).encode())
        server.shutdown(socket.SHUT_WR)
        server.recv(1)  # the worker is there


def serve(address: Path, owner: int) -> None:
    """Forks a worker for each that asks, as long as ``owner`` runs."""
    gc.disable()
    for name in IMPORTED:
        importlib.import_module(name)
    ImportedAlready.hide("torch")
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a worker
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address.with_suffix(".new")))
        listener.listen(64)
        address.with_suffix(".new").rename(address)
        listener.settimeout(LOOK_S)
        while Path(f"/proc/{owner}").exists():
            with suppress(TimeoutError):
                client, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _work(client)
                client.close()


class ImportedAlready(MetaPathFinder, Loader):
    """Gives a module that was taken out of sight when it is imported: PyTorch, which then heeds OMP_NUM_THREADS."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    @classmethod
    def hide(cls, name: str) -> None:
        sys.meta_path.insert(0, cls(sys.modules.pop(name)))

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == self._module.__name__ else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
        module.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))


def _connected(address: Path) -> socket.socket:
    with address.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            _start_server(address)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(address))
    return connection


def _start_server(address: Path) -> None:
    variables = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # a process with threads of NumPy's cannot be forked
    command = [sys.executable, __file__, "serve", str(address)]
    with address.with_suffix(".log").open("wb") as log:
        server = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    while not address.exists():
        if server.poll() is not None:
            raise RuntimeError(address.with_suffix(".log").read_text())
        time.sleep(0.02)


def _work(client: socket.socket) -> None:
    """What Ray's setup_worker.py and default_worker.py do, in a process that has been forked."""
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)  # when a worker has ended, its raylet kills its process group
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    with client, client.makefile("rb") as sent:
        request = json.load(sent)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
    os.environ.clear()
    os.environ.update(request["variables"])
    os.chdir(request["folder"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", type=json.loads, default={})
    parser.add_argument("--language")
    given, worker = parser.parse_known_args(request["arguments"])
    variables = given.serialized_runtime_env_context.get("env_vars") or {}
    os.environ |= {name: os.path.expandvars(value) for name, value in variables.items()}
    sys.argv = worker
    runpy.run_path(worker[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(os.environ[FOLDER].rpartition("-")[2]))
    else:
        main()
