"""``dpc search task._target_=...``: cells scored by a class of the user's own."""

import sys

import pytest

from search.journal.folder import open_search

from .conftest import dpc

MODULE = """
from dataclasses import dataclass

from models.cost import FeatureShape


@dataclass(frozen=True)
class Task:
    epochs: int = 2
    features = FeatureShape(16, 8, 8)

    def __call__(self, cell, seed):
        for epoch in (1, 2):
            yield int(cell.digest, 16) / 2**64 * epoch / self.epochs


class Empty(Task):
    def __call__(self, cell, seed):
        pass


class Percent(Task):
    def __call__(self, cell, seed):
        yield 75


class Broken(Task):
    def __call__(self, cell, seed):
        raise RuntimeError("no such\\nfile")
"""
TINY = ("name=mine", "space.num_branches=2", "proxy.rungs=[10,20]", "trials=4", "faults.give_up_after=3")


@pytest.fixture
def users_folder(monkeypatch, tmp_path):
    (tmp_path / "users_tasks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "out"
    sys.modules.pop("users_tasks", None)


@pytest.mark.usefixtures("without_ray")
def test_it_is_searched_with_its_settings_reported_and_resumed_and_refused_with_others(users_folder):
    done = dpc(users_folder, "search", *TINY, "task._target_=users_tasks.Task", "+task.epochs=3")
    assert done.returncode == 0, done.stderr
    search = open_search(users_folder / "mine")
    assert search.opened.fingerprint["task"] == {"kind": "users_tasks.Task", "epochs": 3}
    assert search.opened.fingerprint["features"]["shape"] == [16, 8, 8]
    assert {"dataset", "backbone"} & {*search.opened.settings} == set()
    assert not (users_folder / "cache").exists()
    assert dpc(users_folder, "search", *TINY, "trials=5", "task._target_=users_tasks.Task", "+task.epochs=3").returncode == 0
    refused = dpc(users_folder, "search", *TINY, "task._target_=users_tasks.Task")
    assert refused.returncode == 2
    assert "task.epochs was 3 and is None" in refused.stderr
    assert dpc(users_folder, "replay", *TINY).returncode == 0


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Empty", "ObjectiveError: objective: must yield its scores, one per rung; it returned None."),
        ("Percent", "ObjectiveError: objective: a score must be from 0 to 1, got 75; divide a percentage by 100."),
        ("Broken", "RuntimeError: no such file"),
    ],
)
def test_one_that_is_wrong_ends_the_search_with_a_line_that_says_what_it_did(users_folder, name, reason):
    done = dpc(users_folder, "search", *TINY, f"task._target_=users_tasks.{name}")
    assert done.returncode == 1
    assert f"Stopped: 3 trials in a row failed alike ({reason})" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["task._target_=users_tasks.Nobody"], "task._target_: cannot find 'users_tasks.Nobody'."),
        (["task._target_=collections.Counter"], "task: must be callable as task(cell, seed), got a Counter."),
        (["task._target_=users_tasks.Task", "+task.depth=1"], "task.depth: no such setting; accepted are epochs."),
        (["+task.epochs=1"], "task: must have a _target_, such as task._target_=my_module.MyTask"),
        (["task=banana"], "task: must have a _target_, such as task._target_=my_module.MyTask, got banana."),
    ],
)
def test_one_that_is_none_is_refused_in_a_line(users_folder, given, said):
    done = dpc(users_folder, "search", *TINY, *given)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dpc: {said}")
    assert done.stderr.count("\n") == 1
