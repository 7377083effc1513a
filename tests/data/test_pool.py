import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from data.pool import process_pool

ENDLESS = """
import os, signal, sys, time
from pathlib import Path
from data.pool import process_pool

def endless(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(1000)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with process_pool(2) as pool:
        for future in [pool.submit(endless, sys.argv[1]) for _ in range(2)]:
            future.result()
"""


def test_functions_run_in_other_processes_and_their_errors_come_back():
    with process_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        with pytest.raises(FileNotFoundError):
            pool.submit(os.stat, "/nowhere").result()


def test_a_process_that_dies_is_told_of():
    with pytest.raises(BrokenProcessPool), process_pool(1) as pool:
        pool.submit(os._exit, 3).result()


def is_alive(pid):
    return Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
def test_processes_end_with_the_one_that_started_them(sent, tmp_path):
    script, folder = tmp_path / "endless.py", tmp_path / "pids"
    script.write_text(ENDLESS)
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    parent = subprocess.Popen([sys.executable, str(script), str(folder)], env=environment, stderr=subprocess.DEVNULL)
    while len(list(folder.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(sent)
    parent.wait()
    pids = [int(path.name) for path in folder.iterdir()]
    while any(map(is_alive, pids)):
        time.sleep(0.02)
