"""Whole commands whose search keeps itself in S3."""

import signal
import subprocess
import sys
from collections import Counter
from uuid import uuid4

import pytest

from data.store import Store
from search.cli import main
from search.journal.events import TrialEnded
from search.journal.lines import read_events
from search.journal.record import SearchRecord

TINY = (
    "name=tiny",
    "trials=4",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.cell.filters=8",
    "resources.cpu=2",  # one trial at a time on two cores: starting a second worker costs more than all trials
)


def command(folder, uri):
    return [sys.executable, "-m", "search.cli", "search", *TINY, f"output_dir={folder}", f"store='{uri}'"]


def dpc(folder, uri):
    return subprocess.run(command(folder, uri), capture_output=True, text=True, timeout=500, check=False)


def test_a_search_whose_machine_is_lost_goes_on_from_s3_elsewhere(s3_server, tmp_path, restored, wait_until):
    uri, here, there = s3_server.uri(uuid4().hex), tmp_path / "here", tmp_path / "there"
    place = Store(uri) / "tiny"

    def num_stored():
        return sum((place / "journal").read(name).count(b"trial_ended") for name in (place / "journal").names())

    given = command(here, uri)
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as search:
        wait_until(lambda: num_stored() >= 1, 200)
        search.kill()
        search.communicate(timeout=60)
    known = num_stored()
    here.rename(tmp_path / "lost")
    events, _ = read_events(tmp_path / "lost" / "tiny" / "journal.jsonl")
    lost, first = SearchRecord(events), next(event.trial for event in events if isinstance(event, TrialEnded))

    resumed = dpc(there, uri)
    assert resumed.returncode == 0, resumed.stderr
    assert f"; {known} are done already" in resumed.stdout
    assert "Waiting" not in resumed.stdout
    events, _ = read_events(there / "tiny" / "journal.jsonl")
    assert Counter(event.trial for event in events if isinstance(event, TrialEnded)) == Counter(range(4))
    record = SearchRecord(events)
    assert record.trials[first].rungs == lost.trials[first].rungs

    assert restored(place / "journal", tmp_path / "copy.jsonl") == (there / "tiny" / "journal.jsonl").read_bytes()
    assert place.names() == ["best.json", "best_cell.png", "leaderboard.csv", "progress.png", "report.html"]
    assert (place / "checkpoints").names() == []
    assert record.opened.settings["store"] == f"s3://bucket/{uri.partition('?')[0].rpartition('/')[2]}/tiny"


def test_a_second_driver_is_refused_in_one_line(s3_server, tmp_path, wait_until):
    uri = s3_server.uri(uuid4().hex)
    with subprocess.Popen(command(tmp_path / "a", uri), stdout=subprocess.DEVNULL, start_new_session=True) as first:
        wait_until((Store(uri) / "tiny" / "journal").names, 200)
        first.send_signal(signal.SIGSTOP)  # its search must not end before the other has looked
        second = subprocess.Popen(command(tmp_path / "b", uri), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert any("still runs this search" in line for line in second.stdout)
        first.send_signal(signal.SIGCONT)
        _, errors = second.communicate(timeout=120)
        first.kill()
    assert second.returncode == 2
    assert f"s3://bucket/{uri.partition('?')[0].rpartition('/')[2]}/tiny: this search is already running (process" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("uri", ["s3//bucket", "fsspec+nonsense://bucket/x", "missing bucket"])
def test_a_store_that_cannot_be_used_is_one_line_before_anything_is_done(s3_server, tmp_path, capsys, uri):
    given = s3_server.uri("x").replace("bucket", "other") if uri == "missing bucket" else uri
    assert main(command(tmp_path / "outputs", given)[3:]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("dpc: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "outputs").exists()
