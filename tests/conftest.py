import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton reads it when it is first imported


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
    bucket: str = "bucket"
    secret: str = "s3cret-of-the-tests"

    def uri(self, folder):
        options = f"endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"
        return f"s3://key:{self.secret}@{self.bucket}/{folder}?{options}"


@pytest.fixture(scope="session")
def s3_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        bucket = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
        deadline_s = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(bucket).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
        yield S3Server(port)
    finally:
        server.kill()
        server.wait()
