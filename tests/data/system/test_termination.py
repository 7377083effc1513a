"""Signals that end a command in order."""

import signal
import subprocess
import sys

import pytest

WAITS = """
import os, signal, sys
from data.system.termination import handle_sigterm, interrupted_code
if len(sys.argv) > 2:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
else:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever runs the tests may run under nohup
handle_sigterm()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
    print("went on")
except KeyboardInterrupt:
    print("in order")
    sys.exit(interrupted_code())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_and_a_lost_terminal_end_a_command_in_order(number):
    ended = subprocess.run([sys.executable, "-c", WAITS, str(int(number))], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("in order\n", 75), ended.stderr


def test_a_command_under_nohup_outlives_its_terminal():
    ended = subprocess.run(
        [sys.executable, "-c", WAITS, str(int(signal.SIGHUP)), "nohup"], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.returncode) == ("went on\n", 0), ended.stderr
