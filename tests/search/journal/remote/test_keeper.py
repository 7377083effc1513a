"""What is brought to a store beside a running search."""

import shutil
import time

import pytest

from search.journal.events import SearchClosed
from search.journal.journal import Journal
from search.journal.lines import JournalError
from search.journal.record import SearchRecord
from search.journal.remote import keeper, owner
from search.journal.remote.keeper import KeeperThread, StoredSearch

pytestmark = pytest.mark.usefixtures("quick_keeper")


@pytest.fixture
def quick_keeper(monkeypatch, quick_owners):
    monkeypatch.setattr(keeper, "POLL_S", 0.02)
    monkeypatch.setattr(keeper, "RETRY_S", (0.05, 0.1))


def refused(reason):
    raise AssertionError(reason)


def test_journal_and_results_follow_a_search_and_checkpoints_go_with_their_trials(
    place, tmp_path, opened, trial, restored, wait_until
):
    told, record = [], SearchRecord()
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        thread = KeeperThread(search, record, [tmp_path / "best.json"], told.append, refused)
        thread.start()
        for event in (opened, *trial(0)[:1], *trial(1)[:1]):
            journal.append(event)
            record.apply(event)
        names = [record.checkpoint_name(number) for number in range(2)]
        for name in names:
            search.checkpoints.write(name, b"state")
        for event in trial(0)[1:]:
            journal.append(event)
            record.apply(event)
        (tmp_path / "best.json").write_text("first")
        wait_until(lambda: search.checkpoints.names() == names[1:])
        wait_until(lambda: place.read("best.json") == b"first")
        (tmp_path / "best.json").write_text("the second")
        wait_until(lambda: place.read("best.json") == b"the second")
        last = SearchClosed("1 trials", 2000.0)
        journal.append(last)
        record.apply(last)
        assert thread.close(20.0) == ""
        search.owner.release()
    assert search.checkpoints.names() == []
    assert told == []
    assert place.names() == ["best.json"]
    assert restored(place / "journal", tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()


def test_a_checkpoint_stays_at_the_look_that_first_sees_its_trial_ended(place, tmp_path, opened, trial):
    """A worker may be uploading it: what it brings then is deleted at the next look."""
    record = SearchRecord()
    for event in (opened, *trial(0)[:1]):
        record.apply(event)
    name = record.checkpoint_name(0)
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, refused)
        thread = KeeperThread(search, record, [], refused, refused)
        search.checkpoints.write(name, b"state")
        for event in trial(0)[1:]:
            record.apply(event)
        thread._sync(is_last=False)
        assert search.checkpoints.names() == [name]
        search.checkpoints.write(name, b"what a worker brings last")
        thread._sync(is_last=False)
        assert search.checkpoints.names() == []


def be(link, other):
    """Let a link lead elsewhere, in one step: a store that is nowhere for a moment is one that its driver has lost."""
    new = link.with_name("new")
    new.symlink_to(other)
    new.replace(link)


def test_a_store_that_fails_is_told_once_delays_nothing_and_catches_up(place, tmp_path, opened, trial, restored, wait_until):
    told = []
    (tmp_path / "works").mkdir()
    (tmp_path / "fails").touch()  # a file where the folder was: every use fails
    be(tmp_path / "store", tmp_path / "works")
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        thread = KeeperThread(search, SearchRecord(), [], told.append, refused)
        thread.start()
        journal.append(opened)
        wait_until(lambda: search.journal.size_bytes > 0)
        be(tmp_path / "store", tmp_path / "fails")
        journal.append(*trial(0))
        wait_until(lambda: told)
        time.sleep(0.5)
        assert len(told) == 1
        assert told[0].startswith(f"The store is failing ({place}")
        be(tmp_path / "store", tmp_path / "works")
        wait_until(lambda: len(told) == 2)
        assert told[1] == f"{place} is up to date again"
        assert thread.close(20.0) == ""
    assert restored(place / "journal", tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()


def test_a_store_that_fails_at_the_end_is_waited_for_a_while_and_what_it_lacks_is_said(place, tmp_path, opened, trial):
    told = []
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "store").touch()
        thread = KeeperThread(search, SearchRecord(), [tmp_path / "best.json"], told.append, refused)
        thread.start()
        journal.append(opened, *trial(0))
        (tmp_path / "best.json").write_text("{}")
        started_s = time.monotonic()
        lacking = thread.close(1.0)
    assert time.monotonic() - started_s < 20
    assert lacking.startswith(f"5 lines of the journal, best.json ({place}")


def test_a_driver_whose_search_was_taken_over_can_write_no_more_here_or_there(place, tmp_path, opened, trial):
    told = []
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        thread = KeeperThread(search, SearchRecord(), [], told.append, journal.give_up)
        place.write(owner.FILE, b'{"host": "elsewhere", "process": 7, "token": "theirs"}')
        journal.append(opened)
        thread.start()
        thread.join(20.0)
        assert not thread.is_alive()
        assert thread.close(1.0).startswith("1 lines of the journal (")
        with pytest.raises(JournalError, match=r"process 7 on elsewhere has taken this search over\.$"):
            journal.append(*trial(0))
    assert told == []
    assert (place / "journal").names() == []
