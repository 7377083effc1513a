import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ray_workers

os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton reads it when it is first imported
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # as in commands, which see to it before they import MLflow
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the CPU to other tests
    "RAY_prestart_worker_first_driver": "0",  # as the product's own Ray: workers that nobody asked for
    "RAY_worker_niceness": "0",  # Ray's workers give way to all else: tests beside them would starve them
    # Ray learns within a second or two, and not twenty, that a node is gone.
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


gc.disable()  # a third of the time in which tests are collected: what they import stays


LONGEST = (
    "cluster/test_submit.py",
    "search/running/test_attempts.py",
    "search/commands/test_end_to_end.py",
    "cluster/test_nodes.py",
    "search/running/test_run.py",
    "cluster/test_autoscaling.py",
    "cluster/test_security.py",
    "search/commands/test_kills.py",
    "search/commands/test_stored_search.py",
    "training/test_distributed.py",
    "search/running/nodes/test_cache_tasks.py",
    "test_gpu_first.py",
    "docs/test_commands_of_pages.py",
    "search/commands/test_wrong_inputs.py",
    "search/views/test_report.py",
    "test_loading.py",
)
"""Files that begin first: processes that share the others end at about the same time."""


def pytest_configure():
    if ray_workers.FOLDER not in os.environ:  # else this is one of several processes, which share it
        os.environ[ray_workers.FOLDER] = tempfile.mkdtemp(suffix=f"-{os.getpid()}")


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[ray_workers.FOLDER])


def pytest_collection_finish():
    if "search.config" in sys.modules:
        from tests import made_tables, parsed_once

        parsed_once.use()
        made_tables.use()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish():
    gc.unfreeze()  # or Triton takes what it finds at the end for leaks


def pytest_collection_modifyitems(items):
    if "ray" in sys.modules:
        ray_workers.use()
    begin = {Path(__file__).parent / file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: begin.get(item.path, len(begin)))


@pytest.fixture
def one_thread():
    """Torch on one CPU thread, where equal arguments give equal bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class S3Server:
    """A real S3 server of this test run alone, with one bucket; moto takes any key."""

    port: int

    def uri(self, folder):
        return f"s3://bucket/{folder}?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"


@pytest.fixture(scope="session")
def s3_server():
    from moto.server import ThreadedMotoServer

    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "of-the-tests"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")).close()
    yield S3Server(port)
    server.stop()


@pytest.fixture
def mlflow_server():
    """Starts a real MLflow server of one worker, which ends with the block: `with mlflow_server(folder, port)`."""
    return _running_mlflow


@contextmanager
def _running_mlflow(folder, port):
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    log = folder / "server.log"
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # starts three times as fast
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=file, stderr=file, start_new_session=True)
    try:
        deadline_s = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(port):
    with suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).status == 200
    return False
