"""A search sent to a running cluster as a user sends it."""

import io
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass

from search.cli import main
from search.journal.events import CellProposed
from search.journal.lines import read_events
from search.journal.record import SearchRecord

TINY = (
    "name=sent",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[10,20,30]",
    "proxy.batch_size=2",
    "proxy.cell.filters=8",
    "scheduler=none",
    "trials=6",
    "resources.cpu=2",  # one worker
)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    returncode: int
    stdout: str


def submit(head, *arguments):
    """In this process, which has imported all that it needs."""
    with redirect_stdout(io.StringIO()) as output:
        return Done(main(["submit", f"address={head.dashboard_url}", *arguments]), output.getvalue())


def test_a_stopped_job_says_how_to_go_on_and_the_same_command_does(ray_head, tmp_path):
    journal = tmp_path / "sent" / "journal.jsonl"
    search = ["--", "search", *TINY, f"output_dir={tmp_path}"]
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
    assert again.returncode == 0, again.stdout
    assert "Leaderboard" in again.stdout
    events, _ = read_events(journal)
    assert Counter(event.trial for event in events if isinstance(event, CellProposed)) == Counter(range(6))
    assert [trial.status for trial in SearchRecord(events).finished] == ["completed"] * 6
