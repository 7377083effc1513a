"""A search that keeps its journal, checkpoints and results in a bucket."""

import re
import signal
from collections import Counter
from uuid import uuid4

import pytest

from data.store import Store
from search.journal.events import TrialEnded
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.remote.segments import StoredJournal

from .conftest import LONGER, TINY, dpc, started, wait_until


def given(uri):
    return [*TINY, LONGER, "trials=4", f"store='{uri}'"]


@pytest.mark.usefixtures("local_ray")
def test_a_search_whose_machine_is_lost_goes_on_from_s3_elsewhere(s3_server, undrawn, tmp_path):
    uri, here, there = s3_server.uri(uuid4().hex), tmp_path / "here", tmp_path / "there"
    place = Store(uri) / "tiny"

    def num_stored():
        return sum((place / "journal").read(name).count(b"trial_ended") for name in (place / "journal").names())

    with started(here, "search", *given(uri)) as search:
        wait_until(lambda: num_stored() >= 1, poll_s=0.3)
        search.kill()
        search.communicate(timeout=60)
    known = num_stored()
    here.rename(tmp_path / "lost")
    events, _ = read_events(tmp_path / "lost" / "tiny" / "journal.jsonl")
    lost, first = SearchRecord(events), next(event.trial for event in events if isinstance(event, TrialEnded))

    resumed = dpc(there, "search", *given(uri))
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(rf"; {known} (is|are) done already", resumed.stdout), resumed.stdout
    assert "Waiting" not in resumed.stdout
    events, _ = read_events(there / "tiny" / "journal.jsonl")
    assert Counter(event.trial for event in events if isinstance(event, TrialEnded)) == Counter(range(4))
    record = SearchRecord(events)
    assert record.trials[first].rungs == lost.trials[first].rungs

    with Journal(tmp_path / "copy.jsonl") as copy:
        StoredJournal(place / "journal", copy.path).restore(copy)
    assert copy.path.read_bytes() == (there / "tiny" / "journal.jsonl").read_bytes()
    assert place.names() == ["best.json", "best_cell.png", "leaderboard.csv", "progress.png", "report.html"]
    assert (place / "checkpoints").names() == []
    assert record.opened.settings["store"] == f"s3://bucket/{uri.partition('?')[0].rpartition('/')[2]}/tiny"


def test_a_second_driver_is_refused_in_one_line(s3_server, tmp_path):
    uri = s3_server.uri(uuid4().hex)
    with started(tmp_path / "a", "search", *given(uri)) as first:
        wait_until((Store(uri) / "tiny" / "journal").names, poll_s=0.3)
        first.send_signal(signal.SIGSTOP)  # its search must not end before the other has looked
        with started(tmp_path / "b", "search", *given(uri)) as second:
            assert any("still runs this search" in line for line in second.stdout)
            first.send_signal(signal.SIGCONT)
            _, errors = second.communicate(timeout=120)
        first.kill()
    assert second.returncode == 2
    assert f"s3://bucket/{uri.partition('?')[0].rpartition('/')[2]}/tiny: this search is already running (process" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("uri", ["s3//bucket", "fsspec+nonsense://bucket/x", "missing bucket"])
def test_a_store_that_cannot_be_used_is_one_line_before_anything_is_done(s3_server, tmp_path, uri):
    missing = s3_server.uri("x").replace("bucket", "other")
    refused = dpc(tmp_path / "outputs", "search", *given(missing if uri == "missing bucket" else uri))
    assert refused.returncode == 2
    assert refused.stderr.startswith("dpc: ")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()
