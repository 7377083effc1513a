"""``dpc list``: what each search of a folder has come to."""

import json
from contextlib import redirect_stdout, suppress
from pathlib import Path

from models.spec import Conv1x1
from search.cli import main
from search.deciding.outcomes import Status
from search.deciding.space import CellSpace
from search.findings.anytime import anytime
from search.findings.course import course
from search.journal.events import TrialEnded
from search.journal.folder import JOURNAL
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from tests.search.journal.studies import journalled, open_study, plan, run, score

from .conftest import dpc


class Mine(Conv1x1):
    """An operator that no other program knows."""

    def to_json(self):
        return {"op": "mine"}


class Family:
    def operators(self):
        return (Mine(), Conv1x1())


def listed(folder):
    done = dpc(folder, "list", "format=json")
    assert done.returncode == 0, done.stderr
    return {glance["name"]: glance for glance in json.loads(done.stdout)}


def test_each_search_is_there_with_what_its_record_says(tmp_path):
    journalled(tmp_path / "whole" / JOURNAL, plan(12, repeats=2))
    journalled(tmp_path / "cut" / JOURNAL, plan(12), die_after=9)
    journalled(tmp_path / "own" / JOURNAL, plan(4, space=CellSpace(3, {"mine": Family()})))
    (tmp_path / "no_search").mkdir()
    found = listed(tmp_path)
    assert {name: glance["state"] for name, glance in found.items()} == {
        "whole": "complete",
        "cut": "stopped",
        "own": "complete",
    }
    for name in ("whole", "cut"):
        record = SearchRecord(read_events(tmp_path / name / JOURNAL)[0])
        assert found[name]["ended"] == record.num_ended
        assert found[name]["best_miou"] == record.best.miou
        assert found[name]["trial_s"] == sum(trial.ended.elapsed_s for trial in record.trials.values() if trial.ended)


def test_a_search_that_a_process_has_is_running_and_what_failed_is_counted_until_it_is_tried_again(tmp_path):
    with Journal(tmp_path / "search" / JOURNAL) as journal:
        study = open_study(journal, plan(3))
        proposed = study.propose()
        study.reached(proposed.trial, score(proposed.cell, 1))
        study.failed(proposed.trial, Status.FAILED, "no room")
        study.propose()
        assert (listed(tmp_path)["search"]["state"], listed(tmp_path)["search"]["failed"]) == ("running", 1)
    with Journal(tmp_path / "search" / JOURNAL) as journal:
        run(open_study(journal, plan(3), retry_failed=True))
    found = listed(tmp_path)["search"]
    assert (found["state"], found["failed"]) == ("complete", 0)
    events = read_events(tmp_path / "search" / JOURNAL)[0]
    ends = [event for event in events if isinstance(event, TrialEnded)]
    assert len(ends) == 4
    of_all = [found["trial_s"], course(events, SearchRecord(events)).trial_s, 3600 * anytime(events).hours[-1]]
    assert of_all == [sum(end.elapsed_s for end in ends)] * 3


def test_the_table_is_for_people_and_nothing_is_written(tmp_path):
    assert "No search in" in dpc(tmp_path, "list").stdout
    journalled(tmp_path / "whole" / JOURNAL, plan(3))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    (header, row) = dpc(tmp_path, "list").stdout.splitlines()
    assert header.split()[:3] == ["search", "state", "trials"]
    assert row.split()[:3] == ["whole", "complete", "3"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_output_that_takes_no_more_is_one_line(tmp_path, capsys):
    with suppress(OSError), Path("/dev/full").open("w") as full:  # it is full when it is closed, too
        with redirect_stdout(full):
            code = main(["list", f"output_dir={tmp_path}"])
        assert code == 1
    assert capsys.readouterr().err.startswith("dpc: output: No space left on device.")


def test_a_torn_last_line_is_left_out_and_a_damaged_one_named_beside_the_other_searches(tmp_path):
    for name in ("whole", "other"):
        journalled(tmp_path / name / JOURNAL, plan(3))
    path = tmp_path / "whole" / JOURNAL
    path.write_bytes(path.read_bytes()[:-30])
    assert listed(tmp_path)["whole"]["state"] == "stopped"
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (lines[3][:40] + b"\n", b"\xff" * 40 + b"\n", b"[1]\n"):
        path.write_bytes(b"".join([*lines[:3], damaged, *lines[4:]]))
        done = dpc(tmp_path, "list")
        assert done.returncode == 1
        _, *rows, damage = done.stdout.splitlines()
        assert {tuple(row.split()[:2]) for row in rows} == {("whole", "damaged"), ("other", "complete")}
        assert damage == f"{path}: line 4 is damaged."
