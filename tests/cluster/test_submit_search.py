"""A search sent to a running cluster as a user sends it."""

import os
import subprocess
import sys

from search.journal import read_events
from search.record import SearchRecord

TINY = (
    "name=sent",
    "dataset.num_train=12",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.cell.filters=8",
    "trials=3",
)


def test_a_submitted_search_runs_on_the_cluster_and_writes_to_the_senders_folder(ray_head, tmp_path):
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}  # noqa: PTH120
    submit = [sys.executable, "-m", "search.cli", "submit", f"address={ray_head.dashboard_url}"]
    sent = subprocess.run(
        [*submit, "--", "search", *TINY, f"output_dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=environment,
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "Leaderboard" in sent.stdout
    record = SearchRecord(read_events(tmp_path / "sent" / "journal.jsonl")[0])
    assert len(record.finished) == 3
