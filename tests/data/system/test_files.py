import csv
import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from data.system.files import remember, whole_file, write_csv, write_text


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    return path


def test_text_is_utf_8_in_a_locale_that_is_not(path, monkeypatch):
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "ascii")
    write_text(path, "für ±")
    assert path.read_bytes().decode() == "für ±"


def test_two_writers_of_one_file_do_not_meet_and_the_last_to_end_wins(path):
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert path.read_text() == "old"
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_and_nothing_else(path, error):
    def write():
        with whole_file(path) as partial:
            partial.write_text("half of a")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_error_of_a_full_disk_names_the_file(path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/report.html'$"), whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_error_of_a_file_that_cannot_be_made_names_it_and_not_the_temporary_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    with pytest.raises(OSError, match=r"'.*/folder'$") as caught:
        write_text(tmp_path / "folder", "text")
    assert "partial" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS], ids=errno.errorcode.get)
def test_what_can_be_found_out_again_is_not_remembered_where_nothing_may_be_written(number, path, monkeypatch):
    monkeypatch.setattr(Path, "open", refusing(number))
    remember(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_full_is_told_even_where_only_a_memory_does_not_fit(path, monkeypatch):
    monkeypatch.setattr(Path, "open", refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        remember(path, "new")


def refusing(number):
    def refuse(path, mode="r", *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    return refuse


def test_an_error_that_says_more_than_a_number_is_left_as_it_is(path):
    with pytest.raises(OSError, match="^store: it fails$"), whole_file(path):
        raise OSError("store: it fails")


def test_the_mode_is_what_the_umask_gives_whatever_wrote_the_file(path):
    before = os.umask(0o027)
    try:
        with whole_file(path) as partial:
            partial.unlink()
            partial.touch(mode=0o600)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_table_has_plain_numbers_and_an_empty_field_where_there_is_none(path):
    write_csv(path, ("name", "miou", "count"), [("a, b", 1 / 3, 4), ("c", None, 0), ("d", np.float64(0.25), np.int64(7))])
    rows = list(csv.DictReader(path.open()))
    assert [tuple(row.values()) for row in rows] == [
        ("a, b", "0.333333", "4"),
        ("c", "", "0"),
        ("d", "0.25", "7"),
    ]


def test_folders_above_are_made(tmp_path):
    write_text(tmp_path / "some" / "where" / "a.txt", "text")
    assert (tmp_path / "some" / "where" / "a.txt").read_text() == "text"
