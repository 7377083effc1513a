"""Ray's workers, forked from a process that has imported Ray and Ray Tune: imports are most of what a small search costs.

A raylet runs this file in the place of Ray's ``setup_worker.py``, once for each worker. It imports nothing that takes time,
and hands its arguments, environment and streams to the process that forks. The first one starts that process, which ends with
the run of the tests.
"""

import fcntl
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

FOLDER = "DPC_TESTS_RAY_WORKERS"
"""Variable with the folder of the run's socket, which is named after the process that the run is."""
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
    import undrawn_ray  # noqa: F401  this file's folder is the first where a script looks

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
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs
    from ray._private.workers import setup_worker
    from ray._raylet import Config

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
    given, worker = setup_worker.parser.parse_known_args(request["arguments"])
    update_envs(RuntimeEnvContext.deserialize(given.serialized_runtime_env_context or "{}").env_vars)
    Config.initialize("")  # Ray has read the environment of the process that this one is forked from
    sys.argv = worker
    runpy.run_path(worker[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(os.environ[FOLDER].rpartition("-")[2]))
    else:
        main()
