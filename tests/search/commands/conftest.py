"""Whole commands: some in a process of their own, most in the test's, which has imported all that they need."""

import gc
import io
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import ray

from search.cli import main
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.running.nodes.cluster import connect
from tests import commands

TINY = (
    "name=tiny",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.batch_size=2",
    "proxy.cell.filters=8",
    "training.cell.filters=8",
    "training.iterations=4",
    "training.eval_every=2",
    "training.batch_size=2",
    "training.workers=0",
    "resources.cpu=2",  # one trial at a time on two cores: starting a second worker costs more than all trials
)


LONGER = "proxy.rungs=[20,40]"
"""Of a search that something happens to after its first trial."""


@pytest.fixture(scope="module")
def local_ray():
    """Ray as a command starts it on this machine: the commands of a file that run in the test's process share one."""
    connect(None)
    yield
    ray.shutdown()


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


def dpc(folder, command, *overrides):
    """A command in this process. One that trains needs ``local_ray``, or else would leave a Ray behind."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = main([command, *overrides, f"output_dir={folder}"])
    return Done(code, output.getvalue(), errors.getvalue())


def refusal(folder, command, *overrides, code=2):
    """The line that a command ends with which cannot go on, and never asked for Ray."""
    gc.collect()  # what a command before it left asks for Ray as it goes
    with patch.object(ray, "is_initialized", side_effect=AssertionError("a refusal needs no Ray")):
        done = dpc(folder, command, *overrides)
    assert done.returncode == code, done
    assert done.stderr.count("\n") == 1
    return done.stderr


def started(folder, command, *overrides):
    """A command in a process of its own, which runs beside the test."""
    return commands.started(command, *overrides, f"output_dir={folder}")


def wait_until(is_true, timeout_s=300, poll_s=0.05):
    deadline_s = time.monotonic() + timeout_s
    while not is_true() and time.monotonic() < deadline_s:
        time.sleep(poll_s)
    assert is_true()


def record_of(folder):
    return SearchRecord(read_events(folder / "tiny" / "journal.jsonl")[0])
