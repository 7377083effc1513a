import errno
import gzip
import json
import multiprocessing
import os
import re
import subprocess
import zlib

import pytest

from data.system.disk import DiskPatience
from models.spec import CellSpec
from search.deciding.outcomes import Status
from search.journal.events import (
    CellProposed,
    DeviceLeftOut,
    RungReached,
    SearchClosed,
    SearchOpened,
    TrialEnded,
    TrialInherited,
    TrialsReopened,
)
from search.journal.journal import Journal
from search.journal.lines import JournalError, read_events

CELL = CellSpec.from_json([{"op": "conv", "kernel": 3, "rate": [1, 6], "input": -1}])
RUNGS = ((40, 0.2, 1.5, 1.0), (80, 0.25, 1.25, 3.5))
EVENTS = [
    TrialInherited(0, "parent", True, CELL, 7, 100, 1000, RUNGS, Status.COMPLETED, "full budget", 3.5, 1.0),
    SearchOpened("a", {"space": {"num_branches": 1}}, {"trials": 1}, 1.5, {"scoring_code": ("0ld", "new")}),
    CellProposed(1, CELL, 7, 100, 1000, 2.0),
    RungReached(1, 1, 40, 0.25, 1.25, 3.5, False, "full budget", 3.0),
    TrialEnded(1, Status.COMPLETED, 'with "quotes" and ünicode', 3.5, 4.0),
    DeviceLeftOut("10.0.0.3 GPU 1", "CUDA error: uncorrectable ECC error encountered", 4.5),
    SearchClosed("1 trials", 5.0),
    TrialsReopened((1,), 5.5),
]
AGAIN = SearchOpened("a", {}, {}, 6.0)


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for event in EVENTS:
            journal.append(event)
    return path


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_round_trips(event, tmp_path):
    before = EVENTS[: EVENTS.index(event)]
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(*before, event)
    assert read_events(path)[0] == [*before, event]


def test_a_journal_reads_back_what_was_written(recorded):
    with Journal(recorded) as journal:
        assert journal.events == EVENTS


def test_lines_are_json_that_any_tool_reads(recorded):
    events = [json.loads(line)["event"] for line in recorded.read_text().splitlines()]
    opening = ["trial_inherited", "search_opened", "cell_proposed"]
    assert events == [*opening, "rung_reached", "trial_ended", "device_left_out", "search_closed", "trials_reopened"]


def test_a_journal_that_was_compressed_is_read_like_any_other(recorded, tmp_path):
    packed = tmp_path / "journal.jsonl.gz"
    packed.write_bytes(gzip.compress(recorded.read_bytes()))
    assert read_events(packed)[0] == EVENTS


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-20], lambda packed: b"plain text", lambda packed: packed[:30] + packed[40:]]
)
def test_a_compressed_journal_that_is_damaged_is_refused_by_name(recorded, tmp_path, damage):
    packed = tmp_path / "journal.jsonl.gz"
    packed.write_bytes(damage(gzip.compress(recorded.read_bytes())))
    with pytest.raises(JournalError, match="journal.jsonl.gz: damaged"):
        read_events(packed)


def test_every_truncation_keeps_the_whole_lines_and_can_be_written_on(recorded, tmp_path):
    whole = recorded.read_bytes()
    ends = [len(b"".join(whole.splitlines(keepends=True)[:n])) for n in range(len(EVENTS) + 1)]
    for length in range(len(whole)):
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends) - 1
        with Journal(cut) as journal:
            assert journal.events == EVENTS[:kept]
            journal.append(EVENTS[kept])
        assert read_events(cut)[0] == EVENTS[: kept + 1]


def test_a_flipped_bit_in_the_middle_is_an_error_that_names_the_line(recorded):
    content = bytearray(recorded.read_bytes())
    content[content.index(b'1.25, "elapsed')] ^= 1
    recorded.write_bytes(content)
    with pytest.raises(JournalError, match="line 4 is damaged"):
        Journal(recorded)


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], "line 5 was written as line 4: a line is missing, duplicated"),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "line 4 was written as line 5"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 was written as line 4"),
        (lambda lines: lines[1:], "line 1 was written as line 2"),
    ],
    ids=["twice", "exchanged", "missing", "without its first"],
)
def test_lines_that_are_not_where_they_were_written_are_an_error_that_names_the_line(recorded, edited, message):
    recorded.write_bytes(b"".join(edited(lines_of(recorded))))
    with pytest.raises(JournalError, match=f"{recorded}: {message}"):
        read_events(recorded)


def test_lines_of_another_journal_do_not_follow(recorded, tmp_path):
    other = tmp_path / "other.jsonl"
    with Journal(other) as journal:
        journal.append(EVENTS[0], AGAIN, EVENTS[2], EVENTS[3])
    recorded.write_bytes(b"".join([*lines_of(recorded)[:3], *lines_of(other)[3:]]))
    with pytest.raises(JournalError, match="line 4 was not written after the line before it"):
        read_events(recorded)


def test_a_line_is_checked_against_what_a_reader_beside_the_writer_had_read(recorded, tmp_path):
    lines = lines_of(recorded)
    recorded.write_bytes(b"".join(lines[:4]))
    _, place = read_events(recorded)
    recorded.write_bytes(b"".join([*lines[:4], lines[3]]))
    with pytest.raises(JournalError, match="line 5 was written as line 4"):
        read_events(recorded, place)


def unnumbered(lines):
    """The lines as they were written before they had numbers."""
    for line in lines:
        text = line.decode().partition(', "line": ')[0]
        yield f'{text}, "crc32": "{zlib.crc32((text + "}").encode()):08x}"}}\n'.encode()


def test_a_journal_without_line_numbers_is_read_and_written_on_with_numbers(recorded):
    recorded.write_bytes(b"".join(unnumbered(lines_of(recorded))))
    with Journal(recorded) as journal:
        assert journal.events == EVENTS
        journal.append(AGAIN, AGAIN)
    assert read_events(recorded)[0] == [*EVENTS, AGAIN, AGAIN]
    lines = lines_of(recorded)
    recorded.write_bytes(b"".join([*lines[:7], *lines[8:]]))
    with pytest.raises(JournalError, match="line 8 was written as line 9"):
        read_events(recorded)


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], "line 5 says that trial 1 reached rung 1, after rung 1"),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "line 5 is of trial 1, which has ended"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 is of trial 1, which has not begun"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 comes before the search was opened"),
        (lambda lines: lines[1:], "line 2 begins trial 1 where trial 0 comes next"),
    ],
    ids=["twice", "exchanged", "without a proposal", "without its opening", "without its first"],
)
def test_a_journal_without_line_numbers_has_the_order_of_a_search(recorded, edited, message):
    recorded.write_bytes(b"".join(edited(list(unnumbered(lines_of(recorded))))))
    with pytest.raises(JournalError, match=message):
        read_events(recorded)


def test_a_blank_line_is_named_with_the_command_that_takes_it_out(recorded):
    lines = lines_of(recorded)
    recorded.write_bytes(b"".join([*lines[:3], b"\n", *lines[3:]]))
    with pytest.raises(JournalError, match="line 4 is blank") as blank:
        Journal(recorded)
    (cure,) = re.findall("`(.*)`", str(blank.value))
    subprocess.run(cure, shell=True, check=True)
    assert read_events(recorded)[0] == EVENTS


def test_what_comes_before_a_damaged_line_goes_on_by_the_command_that_is_named(recorded):
    recorded.write_bytes(recorded.read_bytes().replace(b'1.25, "elapsed', b'1.26, "elapsed'))
    with pytest.raises(JournalError, match="line 4 is damaged") as damaged:
        read_events(recorded)
    (cure,) = re.findall("`(.*)`", str(damaged.value))
    subprocess.run(cure, shell=True, check=True)
    assert read_events(recorded)[0] == EVENTS[:3]


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
def test_a_journal_that_goes_away_under_its_writer_is_noticed_by_the_next_write(recorded, tmp_path, is_replaced):
    with Journal(recorded) as journal:
        if is_replaced:
            (tmp_path / "other").write_bytes(b"")
            (tmp_path / "other").replace(recorded)
        else:
            recorded.unlink()
        with pytest.raises(JournalError, match="was deleted or replaced while this search ran"):
            journal.append(AGAIN)


def test_a_reader_beside_the_writer_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(EVENTS[0])
        first, offset = read_events(path)
        journal.append(EVENTS[1])
        second, _ = read_events(path, offset)
    assert (first, second) == (EVENTS[:1], EVENTS[1:2])


def test_several_events_are_one_write(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(*EVENTS)
    assert read_events(path)[0] == EVENTS


def test_an_event_of_another_version_is_an_error_even_in_the_last_line_and_nothing_is_cut_off(recorded):
    text = '{"event": "trial_paused", "trial": 0'
    line = f'{text}, "crc32": "{zlib.crc32((text + "}").encode()):08x}"}}\n'
    with recorded.open("a") as file:
        file.write(line)
    before = recorded.read_bytes()
    with pytest.raises(JournalError, match="line 9 is not an event that this version of dpc can read"):
        Journal(recorded)
    assert recorded.read_bytes() == before


def test_a_full_disk_is_waited_for_and_told_once(recorded, monkeypatch):
    tries, told = [], []
    fsync = os.fsync

    def full_at_first(descriptor):
        tries.append(descriptor)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with Journal(recorded, patience=DiskPatience(60.0, told.append)) as journal:
        monkeypatch.setattr("os.fsync", full_at_first)
        journal.append(AGAIN)
    assert len(tries) == 3
    assert len(told) == 1
    assert read_events(recorded)[0] == [*EVENTS, AGAIN]


def hold(path, opened, done):
    with Journal(path):
        opened.set()
        done.wait(30)


def test_a_second_writer_is_told_who_holds_the_journal_until_it_is_gone(tmp_path):
    path = tmp_path / "journal.jsonl"
    context = multiprocessing.get_context("spawn")
    opened, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(path, opened, done))
    holder.start()
    try:
        assert opened.wait(30)
        with pytest.raises(JournalError, match=f"already running .process {holder.pid} on "):
            Journal(path)
        holder.kill()
        holder.join(30)
        Journal(path).close()
    finally:
        holder.kill()


def test_a_failed_write_leaves_no_half_line(recorded, monkeypatch):
    with Journal(recorded) as journal:
        before = recorded.read_bytes()

        def full_disk(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full_disk)
            with pytest.raises(OSError, match="No space left"):
                journal.append(AGAIN)
        assert recorded.read_bytes() == before
        journal.append(AGAIN)
    assert len(read_events(recorded)[0]) == len(EVENTS) + 1
