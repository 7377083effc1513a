"""Commands and paths that are printed are what a shell takes, whatever characters are in them."""

import shlex

from search.session.hints import from_here, print_lines
from search.views.console import plain_console


def test_square_brackets_in_what_is_printed_are_no_markup(capsys):
    command = ["dpc", "retrain", "dataset.classes=[cat,dog]", "dataset.root=/data/[red]a b#1"]
    print_lines({"next": shlex.join(command)}, plain_console())
    title, *printed = shlex.split(capsys.readouterr().out)
    assert (title, printed) == ("next", command)


def test_a_path_with_blanks_is_quoted_and_relative_to_where_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shlex.split(from_here(tmp_path / "my search" / "report#1.html"), comments=True) == ["my search/report#1.html"]
    assert from_here(tmp_path.parent / "plain") == str(tmp_path.parent / "plain")
