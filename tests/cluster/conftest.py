"""Real Ray heads of this test run alone: own ports, own folder, own processes."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class RayHead:
    """Where the head answers: the dashboard and jobs API, and the address for `ray.init`."""

    dashboard_url: str
    gcs_address: str
    folder: Path
    token: str = ""


@dataclass(frozen=True, slots=True)
class RayWorker:
    """A worker of a head: one machine more, as far as Ray can tell."""

    process: subprocess.Popen[bytes]
    node_id: str

    def signal(self, number: int) -> None:
        """Send all of its processes a signal: SIGKILL is a machine that is gone, SIGSTOP one that falls silent."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def family(self) -> set[int]:
        """Its processes, trials included."""
        return _family(self.process.pid)


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayHead]:
    """A head without authentication, which else depends on whether this user ever ran `ray.init`: that leaves a token."""
    with running_head({"RAY_AUTH_MODE": "disabled"}) as head:
        yield head


@pytest.fixture(scope="module")
def token_head() -> Iterator[RayHead]:
    """A head that asks for a token."""
    token = secrets.token_hex(32)
    with running_head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}) as head:
        yield replace(head, token=token)


@contextmanager
def running_head(own: dict[str, str], *options: str, cpus: int = 2, gcs: int | None = None) -> Iterator[RayHead]:
    """A head with environment variables of its own."""
    dashboard, agent, client, free = free_ports(4)
    gcs = gcs or free
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short: the path of a unix socket has at most 107 bytes
    head = RayHead(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", folder)
    command = ["--head", "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    if not any(option.startswith("--autoscaling-config") for option in options):
        command.append("--no-monitor")
    process = _start(folder, "start.log", own, *command, f"--num-cpus={cpus}", f"--temp-dir={folder}", *options)
    try:
        _wait_for_jobs_api(head, own, process, folder / "start.log")
        yield head
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_worker(head: RayHead, own: dict[str, str]) -> Iterator[RayWorker]:
    """A worker with one CPU and a folder of its own. It shares the head's address: Ray tells nodes apart by their ids."""
    node_id, folder = secrets.token_hex(28), Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    command = [f"--address={head.gcs_address}", "--num-cpus=1", "--dashboard-agent-listen-port=0", f"--temp-dir={folder}"]
    process = _start(folder, "start.log", own | {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": node_id}, *command)
    worker = RayWorker(process, node_id)
    try:
        yield worker
    finally:
        worker.signal(signal.SIGCONT)
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def worker_ids(head: RayHead, state: str = "ALIVE") -> set[str]:
    """The workers that the head knows, ALIVE or DEAD."""
    answer = requests.get(f"{head.dashboard_url}/api/v0/nodes?limit=100", timeout=10).json()
    nodes = answer["data"]["result"]["result"]
    return {node["node_id"] for node in nodes if node["state"] == state and not node["is_head_node"]}


def _start(folder: Path, log: str, own: dict[str, str], *options: str) -> subprocess.Popen[bytes]:
    kept = ("RAY_worker_niceness", "RAY_prestart_worker_first_driver")  # see tests/conftest.py
    variables = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("RAY_")}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"  # a job starts `python`
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options]
    command += [f"--object-store-memory={100 * 2**20}", "--include-log-monitor=false"]
    with (folder / log).open("w") as file:
        return subprocess.Popen(command, env=variables | own, stdout=file, stderr=file, start_new_session=True)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _wait_for_jobs_api(head: RayHead, own: dict[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    headers = {"Authorization": f"Bearer {own.get('RAY_AUTH_TOKEN', '')}"}
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        with suppress(requests.RequestException):
            if requests.get(f"{head.dashboard_url}/api/jobs/", headers=headers, timeout=5).ok:
                return
        time.sleep(0.2)
    raise RuntimeError(f"ray start did not give a head:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the head and all that it started, by process id."""
    family = _family(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    deadline_s = time.monotonic() + 10
    while any(_is_alive(pid) for pid in family) and time.monotonic() < deadline_s:
        time.sleep(0.1)


def _family(leader: int) -> set[int]:
    """The leader's session, where Ray's orphans stay, and all descendants: jobs lead sessions of their own."""
    processes = list(_processes())
    family = {leader} | {pid for pid, _, session in processes if session == leader}
    while found := {pid for pid, parent, _ in processes if parent in family} - family:
        family |= found
    return family


def _processes() -> Iterator[tuple[int, int, int]]:
    """Id, parent and session of each of this machine."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            yield int(entry.name), int(fields[1]), int(fields[3])


def _is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _stat(pid: int) -> list[str]:
    """State, parent, group, session and so on; empty of a process that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
