"""Trials that fail, from the command's first line to its exit code. What a cluster would do is played by a function."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from search.deciding.outcomes import Status
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.session import session
from tests.search.conftest import leave_figures_out
from training.score import RungScore

from .conftest import TINY, dpc

ROOT = "no such folder /data/cityscapes"
RERANK = [*TINY[1:], "from=tiny", "top=2"]
FIDELITY = [
    *TINY[1:],
    "first.protocol=end_to_end",
    "cells=side_by_side",
    "cells.operators.atrous.rates=[6]",
    "~cells.operators.pooling",
]
SEARCH = [*TINY, "trials=4"]


@pytest.fixture(scope="module")
def cluster():
    """Plays the cluster: ``cluster(*good)`` lets every trial fail from now on but those with these numbers."""
    good = []

    def run_study(study, *_, **__):
        while (proposed := study.propose()) is not None:
            if proposed.trial not in good:
                study.failed(proposed.trial, Status.FAILED, ROOT)
                continue
            for rung, iteration in enumerate(study.plan.rungs, start=1):
                if not study.reached(proposed.trial, RungScore(rung, iteration, 0.5, 1.0, float(rung))):
                    break
        study.close()

    with pytest.MonkeyPatch.context() as patched:
        leave_figures_out(patched)
        patched.setattr(session, "run_study", run_study)
        patched.setattr(session.Session, "_join", lambda *_: None)
        patched.setattr(session, "follow", lambda *_: nullcontext(SimpleNamespace(link="")))
        yield lambda *numbers: good.__setitem__(slice(None), numbers)


@pytest.fixture(scope="module")
def searched(tmp_path_factory, cluster):
    """A search whose trials fail, which is tried again as it was, and then with failed trials: its folder and what was said."""
    folder = tmp_path_factory.mktemp("outputs")
    said = [dpc(folder, "search", *SEARCH), dpc(folder, "search", *SEARCH)]
    cluster(0, 1, 3)
    return folder, [*said, dpc(folder, "search", *SEARCH, "retry_failed=true")]


def test_a_search_in_which_everything_failed_says_why_ends_with_1_has_no_next_and_can_be_tried_again(searched):
    _, (failed, again, mended) = searched
    assert failed.returncode == again.returncode == 1
    assert f"No cell has a score: 4 failed (the reason: {ROOT}; retry_failed=true tries them again)" in failed.stdout
    assert "next " not in failed.stdout
    assert "4 are done already, of which 4 failed (retry_failed=true tries them again)" in again.stdout
    assert "4 are done already, of which 4 failed and are tried again" in mended.stdout
    assert mended.returncode == 0
    assert f"Without a score: 1 failed (the reason: {ROOT}; retry_failed=true tries them again)" in mended.stdout
    assert "next " in mended.stdout


def test_one_of_them_alone_goes_on_to_the_full_budget_and_a_name_that_is_none_is_refused(searched, cluster):
    output_dir, _ = searched
    cluster(2)
    resumed = dpc(output_dir, "search", *SEARCH, "resume=2")
    assert resumed.returncode == 0, resumed
    assert "trial 2 continues to the full budget" in resumed.stdout
    assert "Without a score" not in resumed.stdout
    assert dpc(output_dir, "search", *SEARCH, "resume=[2]").returncode == 0  # it has it
    refused = dpc(output_dir, "search", *SEARCH, "resume=[9]")
    assert (refused.returncode, refused.stderr) == (2, "dpc: resume: trial 9: there is none.\n")


def test_a_search_that_gives_up_says_how_it_goes_on_and_how_it_tries_again(searched, cluster):
    output_dir, _ = searched
    cluster()
    stopped = dpc(output_dir, "search", *SEARCH[1:], "name=stopped", "faults.give_up_after=2")
    assert stopped.returncode == 1
    assert f"Stopped: 2 trials in a row failed alike ({ROOT})" in stopped.stdout
    assert "retry_failed=true tries the failed ones again, too." in stopped.stdout
    cluster(0, 1, 2, 3)
    mended = dpc(output_dir, "search", *SEARCH[1:], "name=stopped", "retry_failed=true")
    assert mended.returncode == 0, mended
    assert "failed" not in mended.stdout.split("Leaderboard")[1]


@pytest.mark.parametrize(
    ("command", "given", "folders"),
    [("rerank", RERANK, ["tiny/rerank/seed-0"]), ("fidelity", FIDELITY, ["fidelity/first", "fidelity/second"])],
)
def test_trainings_that_all_failed_say_why_end_with_1_and_are_tried_again(searched, cluster, command, given, folders):
    output_dir, _ = searched
    cluster()
    done = dpc(output_dir, command, *given)
    assert done.returncode == 1
    assert f"failed (the reason: {ROOT}; retry_failed=true tries them again)" in done.stdout
    assert "next " not in done.stdout
    assert "best.json" not in done.stdout
    cluster(0, 1, 2)
    assert dpc(output_dir, command, *given).returncode == 1
    mended = dpc(output_dir, command, *given, "retry_failed=true")
    assert mended.returncode == 0, mended
    assert mended.stdout.count("failed and are tried again") == len(folders)
    for folder in folders:
        record = SearchRecord(read_events(output_dir / folder / "journal.jsonl")[0])
        assert record.failed == []
        assert all(trial.miou is not None for trial in record.finished)
