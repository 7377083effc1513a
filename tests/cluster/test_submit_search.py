"""A search sent to a running cluster as a user sends it."""

import os
import subprocess
import sys
import time
from collections import Counter

from search.journal.events import CellProposed
from search.journal.lines import read_events
from search.journal.record import SearchRecord

TINY = (
    "name=sent",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.cell.filters=8",
    "resources.cpu=2",  # one worker
)


def submit(head, *arguments):
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}  # noqa: PTH120
    command = [sys.executable, "-m", "search.cli", "submit", f"address={head.dashboard_url}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=environment)


def test_a_stopped_job_says_how_to_go_on_and_the_same_command_does(ray_head, tmp_path):
    journal = tmp_path / "sent" / "journal.jsonl"
    search = ["--", "search", *TINY, "proxy.rungs=[20,40,60]", "trials=6", "scheduler=none", f"output_dir={tmp_path}"]
    assert submit(ray_head, "job=to-stop", "wait=false", *search).returncode == 0
    deadline_s = time.monotonic() + 300
    while not (journal.exists() and b"rung_reached" in journal.read_bytes()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    stopped = submit(ray_head, "stop=to-stop")
    assert stopped.stdout == "Job to-stop: stopped\n"
    events, end = read_events(journal)
    assert end.offset == journal.stat().st_size, "its last line is torn"
    assert SearchRecord(events).closed is None
    assert "Nothing is lost: the same command goes on" in submit(ray_head, "logs=to-stop", "wait=false").stdout

    again = submit(ray_head, "job=goes-on", *search)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Leaderboard" in again.stdout
    events, _ = read_events(journal)
    assert Counter(event.trial for event in events if isinstance(event, CellProposed)) == Counter(range(6))
    assert [trial.status for trial in SearchRecord(events).finished] == ["completed"] * 6
