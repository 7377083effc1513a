"""``dpc show``: how a search stands, whether it runs, has ended or was killed."""

import json
import threading
from uuid import uuid4

import pytest

from data.store import Store
from search.commands import show
from search.deciding.outcomes import Status
from search.deciding.space import CellSpace
from search.journal.events import SearchOpened
from search.journal.folder import JOURNAL
from search.journal.journal import Journal
from search.journal.remote.owner import FILE
from search.journal.remote.segments import StoredJournal
from tests.search.commands.test_list import Family
from tests.search.journal import studies
from tests.search.journal.studies import journalled, open_study, plan, run

from .conftest import dpc, refusal


def shown(folder, *how):
    done = dpc(folder, "show", "name=search", *how)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "search" / JOURNAL


def test_the_leaderboard_is_that_of_the_search(tmp_path, journal):
    record = journalled(journal, plan(30)).record
    rows = [line.split() for line in shown(tmp_path, "rows=30").splitlines() if line[:4].strip().isdigit()]
    assert [row[-1] for row in rows] == [trial.cell.digest for trial in record.ranked()]
    assert shown(tmp_path).startswith("test: complete, 30 trials done (")
    assert f"Best cell: {record.best.cell}" in shown(tmp_path)


def test_what_failed_is_there_with_its_reason_and_what_was_interrupted_with_its_rung(tmp_path, journal):
    with Journal(journal) as writer:
        study = open_study(writer, plan(6))
        run(study, die_after=4)
        for reason in ("CUDA out of memory", "CUDA out of memory", "no such file"):
            study.failed(study.propose().trial, Status.FAILED, reason)
        assert "test: running" in shown(tmp_path)
        assert "Under way" in shown(tmp_path)
    text = shown(tmp_path)
    assert "test: stopped" in text
    assert "2  failed  CUDA out of memory" in text
    assert "1  failed  no such file" in text
    (row,) = text.partition("Interrupted")[2].strip().splitlines()[:1]
    assert "rung" in row


def test_a_search_of_one_trial_has_one_trial(tmp_path, journal):
    journalled(journal, plan(1))
    assert shown(tmp_path).startswith("test: complete, 1 trial done (1 completed)")


def test_nothing_is_written_and_a_search_that_runs_is_not_disturbed(tmp_path, journal):
    with Journal(journal) as writer:
        study = open_study(writer, plan(4))
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        shown(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        run(study)
    assert shown(tmp_path).startswith("test: complete")


def test_as_json_it_is_for_programs(tmp_path, journal):
    record = journalled(journal, plan(5)).record
    found = json.loads(shown(tmp_path, "format=json"))
    assert (found["state"], sum(found["ended"].values())) == ("complete", 5)
    assert [row["digest"] for row in found["leaderboard"]] == [trial.cell.digest for trial in record.ranked()]
    assert found["leaderboard"][0]["miou"] == record.best.miou


def test_operators_that_this_program_does_not_know_are_shown_as_they_were_written(tmp_path, journal):
    journalled(journal, plan(4, space=CellSpace(3, {"mine": Family()})))
    assert "mine <- " in shown(tmp_path)


def test_a_torn_last_line_is_left_out_and_a_damaged_one_named(tmp_path, journal):
    journalled(journal, plan(3))
    journal.write_bytes(journal.read_bytes()[:-30])
    assert "test: stopped, 3 trials done" in shown(tmp_path)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\n", *lines[4:]]))
    assert "line 4 is damaged" in refusal(tmp_path, "show", "name=search")


def test_a_folder_without_a_search_is_one_line(tmp_path, journal):
    journal.parent.mkdir()
    assert "name: no search 'search'" in refusal(tmp_path, "show", "name=search")
    journal.touch()
    assert "name: no search has begun in" in refusal(tmp_path, "show", "name=search")


@pytest.mark.parametrize(
    ("die_after", "expected"),
    [
        (None, "dpc retrain output_dir={} experiment=demo from=search rank=1"),
        (1, "dpc search experiment=demo name=search seed=1 trials=3 output_dir={}"),
    ],
)
def test_the_next_command_is_that_of_how_the_search_was_started(tmp_path, journal, monkeypatch, die_after, expected):
    given = ["experiment=demo", "name=search", "seed=1", "trials=3", "output_dir=elsewhere"]
    monkeypatch.setattr(studies, "OPENED", SearchOpened("search", {}, {"trials": 3, "arguments": given}, 0.0))
    journalled(journal, plan(3), die_after=die_after)
    (line,) = (line for line in shown(tmp_path).splitlines() if line.startswith("next"))
    assert line.endswith(expected.format(tmp_path))


def test_a_search_whose_cells_a_program_scored_is_not_said_to_be_retrained_next(tmp_path, journal, monkeypatch):
    monkeypatch.setattr(studies, "OPENED", SearchOpened("search", {"features": {"shape": [8, 9, 9]}}, {"trials": 3}, 0.0))
    journalled(journal, plan(3))
    assert "next" not in shown(tmp_path)


def stored(uri, journal):
    place = Store(uri)
    StoredJournal(place / "search" / "journal", journal).sync()
    return place


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_a_search_in_a_store_is_seen_from_another_machine(tmp_path, journal, s3_server, kind):
    record = journalled(journal, plan(5)).record
    place = stored(f"file://{tmp_path}/bucket" if kind == "file" else s3_server.uri(uuid4().hex), journal)
    text = shown(tmp_path / "elsewhere", f"store='{place.uri}'")
    assert text.startswith("test: complete, 5 trials done")
    assert record.best.cell.digest in text
    assert f"results    {place / 'search'}" in text
    (place / "search").write(FILE, b"{}")
    assert shown(tmp_path / "elsewhere", f"store='{place.uri}'").startswith("test: running")
    assert "no search has begun" in refusal(tmp_path, "show", "name=nobody", f"store='{place.uri}'")


def test_a_search_in_a_store_is_watched_until_its_driver_gives_no_sign_of_life_any_more(tmp_path, journal, monkeypatch):
    monkeypatch.setattr(show, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("search.journal.remote.owner.WATCH_S", 0.05)
    journalled(journal, plan(5), die_after=3)
    place = stored(f"file://{tmp_path}/bucket", journal)
    (place / "search").write(FILE, b"{}")  # of a driver that was killed
    text = shown(tmp_path / "elsewhere", f"store={place.uri}", "watch=true")
    assert text.startswith("test: running")
    assert "test: stopped" in text


def test_a_store_is_read_on_from_where_the_last_look_ended(tmp_path, journal, monkeypatch):
    monkeypatch.setattr("search.journal.remote.segments.SEGMENT_BYTES", 2000)
    with Journal(journal) as writer:
        run(open_study(writer, plan(9)))
        copy = StoredJournal(Store(f"file://{tmp_path}/bucket"), tmp_path / "part.jsonl")
        lines = writer.path.read_bytes().splitlines(keepends=True)
    seen = b""
    for end in range(0, len(lines) + 1, 4):
        copy.journal.write_bytes(b"".join(lines[:end]))
        copy.sync()
        seen += StoredJournal(copy.store, copy.journal).read(len(seen))
        assert seen == b"".join(lines[:end])


def test_a_search_is_watched_until_no_process_has_it(tmp_path, journal, monkeypatch):
    monkeypatch.setattr(show, "LOOK_EVERY_S", 0.02)
    writer = Journal(journal)
    study = open_study(writer, plan(3))
    ends = threading.Timer(0.3, lambda: (run(study), writer.close()))
    ends.start()
    text = shown(tmp_path, "watch=true")
    ends.join()
    assert text.startswith("test: running, 0 trials done")
    assert "test: complete, 3 trials done" in text
