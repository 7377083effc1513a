"""A journal in a store, in segments: a folder here."""

import pytest

from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Status
from search.journal.events import TrialInherited
from search.journal.journal import Journal
from search.journal.lines import JournalError, encode, read_events
from search.journal.record import SearchRecord
from search.journal.remote import segments
from search.journal.remote.segments import StoredJournal

CELLS = [CellSpec((Branch(-1, AtrousConv((rate, rate))),)) for rate in (1, 2)]


def test_a_journal_comes_back_from_its_segments_byte_for_byte(place, tmp_path, monkeypatch, opened, trial, restored):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2000)
    with Journal(tmp_path / "a.jsonl") as journal:
        stored = StoredJournal(place, journal.path)
        stored.restore(journal)
        journal.append(opened)
        for number in range(10):
            for event in trial(number):
                journal.append(event)
                stored.sync()
        assert 3 < len(place.names()) < 8
        assert stored.lines_missing() == 0
    assert restored(place, tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()
    assert len(SearchRecord(read_events(tmp_path / "b.jsonl")[0]).finished) == 10


def test_a_week_of_the_papers_search_is_some_hundred_segments(trial):
    a_trial = sum(len(encode(event)[0]) for event in trial(10_000, CellSpec(CELLS[0].branches * 5)))
    assert 28_000 * a_trial / segments.SEGMENT_BYTES < 500


@pytest.mark.parametrize("has_here", [0, 1, 5, 9])
def test_a_journal_that_is_behind_the_stores_goes_on_from_it_and_the_store_from_there(
    place, tmp_path, has_here, opened, trial, restored
):
    events = [opened, *trial(0), *trial(1)]
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.append(*events[:5])
        stored = StoredJournal(place, journal.path)
        stored.sync()
        journal.append(*events[5:])
        stored.sync()
    with Journal(tmp_path / "b.jsonl") as journal:
        journal.append(*events[:has_here])
    with Journal(tmp_path / "b.jsonl") as journal:
        again = StoredJournal(place, journal.path)
        lacked = again.restore(journal)
        assert lacked == sum(map(len, (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)[has_here:]))
        assert journal.events == events
        journal.append(*trial(2))
        again.sync()
    assert restored(place, tmp_path / "c.jsonl") == (tmp_path / "b.jsonl").read_bytes()
    assert read_events(tmp_path / "c.jsonl")[0] == [*events, *trial(2)]


def test_a_journal_that_is_ahead_of_the_stores_is_brought_there(place, tmp_path, opened, trial, restored):
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.append(opened)
        StoredJournal(place, journal.path).sync()
        journal.append(*trial(0))
        stored = StoredJournal(place, journal.path)
        assert stored.restore(journal) == 0
        assert stored.lines_missing() == 4
        stored.sync()
    assert restored(place, tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()


def test_journals_that_went_different_ways_are_refused_and_both_are_named(place, tmp_path, opened, trial, restored):
    for name, number in (("a", 0), ("b", 1)):
        with Journal(tmp_path / f"{name}.jsonl") as journal:
            journal.append(opened, *trial(0, CELLS[number]))
    StoredJournal(place, tmp_path / "a.jsonl").sync()
    before = (tmp_path / "b.jsonl").read_bytes()
    with pytest.raises(JournalError, match="have diverged") as refused:
        restored(place, tmp_path / "b.jsonl")
    assert str(tmp_path / "b.jsonl") in str(refused.value)
    assert str(place) in str(refused.value)
    assert (tmp_path / "b.jsonl").read_bytes() == before


def test_a_fork_that_was_killed_before_its_opening_line_begins_anew_on_either_side(place, tmp_path, restored):
    for name, number in (("a", 0), ("b", 1)):
        with Journal(tmp_path / f"{name}.jsonl") as journal:
            journal.append(TrialInherited(0, "parent", True, CELLS[number], 7, 1, 2, (), Status.FAILED, "", 0.0, 1.0))
    StoredJournal(place, tmp_path / "a.jsonl").sync()
    assert restored(place, tmp_path / "b.jsonl") == b""
    assert place.names() == []


@pytest.fixture
def three_segments(place, tmp_path, monkeypatch, opened, trial):
    """Their names; the journal is a.jsonl."""
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    with Journal(tmp_path / "a.jsonl") as journal:
        stored = StoredJournal(place, journal.path)
        for events in ([opened], trial(0), trial(1)):
            journal.append(*events)
            stored.sync()
    return place.names()


def test_a_damaged_segment_is_named_and_nothing_is_taken_from_it(place, tmp_path, three_segments, restored):
    _, second, _ = three_segments
    place.write(second, place.read(second).replace(b"completed", b"divergent"))
    with pytest.raises(JournalError, match=f"{second}: .* damaged"):
        restored(place, tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_bytes() == b""


def test_a_missing_segment_is_noticed(place, tmp_path, three_segments, restored):
    _, second, third = three_segments
    place.delete(second)
    with pytest.raises(JournalError, match=f"{third}: what comes before it is missing"):
        restored(place, tmp_path / "b.jsonl")


def test_a_last_segment_that_was_cut_short_gives_its_whole_lines(place, tmp_path, three_segments, restored):
    *_, third = three_segments
    place.write(third, place.read(third)[:-20])
    whole = (tmp_path / "a.jsonl").read_bytes()
    assert restored(place, tmp_path / "b.jsonl") == b"".join(whole.splitlines(keepends=True)[:-1])


def test_what_a_driver_adds_after_it_lost_the_search_does_not_count(place, tmp_path, opened, trial, restored):
    with Journal(tmp_path / "a.jsonl") as first:
        before = StoredJournal(place, first.path)
        first.append(opened, *trial(0))
        before.sync()
        with Journal(tmp_path / "b.jsonl") as second:
            after = StoredJournal(place, second.path)
            after.restore(second)
            second.append(*trial(1))
            after.sync()
        first.append(*trial(2))
        before.sync()
    assert restored(place, tmp_path / "c.jsonl") == (tmp_path / "b.jsonl").read_bytes()


def test_files_of_others_in_the_folder_are_left_alone(place, opened, restored, tmp_path):
    local = tmp_path / "local" / "journal.jsonl"
    with Journal(local) as journal:
        journal.append(opened)
    StoredJournal(place, local).sync()
    for name in (".nfs000001", ".DS_Store", "000000000000.jsonl copy"):
        place.write(name, b"")
    assert restored(place, tmp_path / "elsewhere" / "journal.jsonl") == local.read_bytes()
