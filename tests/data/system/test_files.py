import errno
import os

import pytest

from data.system.files import whole_file, write_text


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    return path


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


def test_folders_above_are_made(tmp_path):
    write_text(tmp_path / "some" / "where" / "a.txt", "text")
    assert (tmp_path / "some" / "where" / "a.txt").read_text() == "text"
