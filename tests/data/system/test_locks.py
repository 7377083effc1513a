import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data.system.locks import Lock, LockedError

ROOT = Path(__file__).parents[2]
HOLD = """
import pathlib, sys, time
from data.system.locks import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
print(flush=True)
time.sleep(60)
"""


def test_a_lock_that_is_held_is_refused_and_says_who_holds_it_however_often_one_asks(tmp_path):
    with Lock(tmp_path / "lock"):
        for _ in range(2):
            with pytest.raises(LockedError, match=f"^process {os.getpid()} on "):
                Lock(tmp_path / "lock")
    with Lock(tmp_path / "lock"):
        pass


def test_a_lock_dies_with_its_process(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline()
        with pytest.raises(LockedError, match=f"^process {holder.pid} on "):
            Lock(tmp_path / "lock")
        holder.send_signal(signal.SIGKILL)
    Lock(tmp_path / "lock").release()


def test_a_lock_may_be_waited_for(tmp_path):
    held = Lock(tmp_path / "lock")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(Lock, tmp_path / "lock", wait=True)
        assert not waiting.done()
        held.release()
        waiting.result().release()
