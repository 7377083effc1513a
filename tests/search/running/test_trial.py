"""Whose state a checkpoint is: that of one search, cell and seed, and no other's. What is a cell's own fault."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from data.cache.files import CacheError
from data.datasets.contract import UnreadableError
from models.spec import PUBLISHED_OPERATORS, CellSpec
from search.journal.events import CellProposed, SearchOpened
from search.journal.record import SearchRecord
from search.running.faults.diagnosis import LocalFault, Location
from search.running.trial import CellTrial
from search.running.trial_files import forget_checkpoints
from training.score import RungScore

CELL, OTHER = (CellSpec.from_json([{"op": "conv", "kernel": 3, "rate": [1, rate], "input": -1}]) for rate in (6, 12))
OPENED = SearchOpened("a", {"proxy": {"learning_rate": 0.1}, "seed": 0}, {"trials": 4}, 1.0)
PROPOSED = CellProposed(0, CELL, 7, 100, 1000, 2.0)


def name_of(opened=OPENED, proposed=PROPOSED):
    return SearchRecord([opened, proposed]).checkpoint_name(0)


@pytest.mark.parametrize(
    "other",
    [
        name_of(replace(OPENED, fingerprint={"proxy": {"learning_rate": 0.2}, "seed": 0})),
        name_of(proposed=replace(PROPOSED, seed=8)),
        name_of(proposed=replace(PROPOSED, cell=OTHER)),
    ],
    ids=["settings", "seed", "cell"],
)
def test_the_checkpoint_of_another_search_seed_or_cell_is_none(other):
    assert other != name_of()


def test_a_search_that_goes_on_finds_its_checkpoints_whatever_may_change_under_one_name():
    again = replace(OPENED, settings={"trials": 8}, fingerprint=dict(reversed(OPENED.fingerprint.items())), time_s=9.0)
    assert name_of(again, replace(PROPOSED, time_s=10.0)) == name_of()
    assert SearchRecord([OPENED, PROPOSED, again]).checkpoint_name(0) == name_of()


def test_what_other_searches_left_goes_and_the_searchs_own_and_all_else_stays(tmp_path):
    record = SearchRecord([OPENED, PROPOSED])
    own = tmp_path / record.checkpoint_name(0)
    other = tmp_path / name_of(replace(OPENED, fingerprint={}))
    kept = {own, own.with_name(f"{own.name}.1f.partial"), tmp_path / f"{CELL.digest}.hung"}
    left = {other, other.with_name(f"{other.name}.1f.partial"), other.with_suffix(".stored"), tmp_path / "old.safetensors"}
    for path in kept | left:
        path.touch()
    forget_checkpoints(tmp_path, record.digest)
    assert set(tmp_path.iterdir()) == kept
    forget_checkpoints(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{CELL.digest}.hung"}


def test_a_folder_that_is_not_there_has_nothing_to_forget(tmp_path):
    forget_checkpoints(tmp_path / "none")


def step_that_raises(error, folder, monkeypatch):
    def scores():
        raise error
        yield

    monkeypatch.setattr("search.running.trial.is_node_draining", lambda: False)
    return a_trial(folder, scores()).step()


def a_trial(folder, scores):
    trial = CellTrial.__new__(CellTrial)  # Ray's actors are made by Ray
    trial._config = {"cell": json.dumps(CELL.to_json()), "seed": 7, "checkpoint": "state", "room": {}}
    trial._checkpoints, trial._operators, trial._timeout_s = folder, PUBLISHED_OPERATORS, None
    trial._location, trial._warnings, trial._has_met_fault = Location("node", "here", ()), SimpleNamespace(new=list), False
    trial._scores = scores
    return trial


@pytest.mark.parametrize("kind", [OSError, CacheError, UnreadableError])
def test_trouble_of_a_disk_or_its_files_is_the_nodes_until_another_node_has_it_too(kind, tmp_path, monkeypatch):
    told = step_that_raises(kind("features.npy is damaged"), tmp_path, monkeypatch)
    assert told == {"fault": LocalFault(Location("node", "here", ()), f"{kind.__name__}: features.npy is damaged")}


def test_the_folder_of_a_checkpoint_is_there_before_an_objective_writes_to_it(tmp_path, monkeypatch):
    def keeps_its_state(cell, seed, checkpoint):
        checkpoint.write_text("{}")
        yield RungScore(1, 1, 0.5, None, 1.0)

    monkeypatch.setattr("search.running.trial.is_node_draining", lambda: False)
    trial = a_trial(tmp_path / "new", None)
    trial._task = keeps_its_state
    assert trial.step()["score"]["miou"] == 0.5


def test_what_a_cell_raises_is_its_end(tmp_path, monkeypatch):
    told = step_that_raises(RuntimeError("cannot be built"), tmp_path, monkeypatch)
    assert told == {"failed": "failed", "reason": "RuntimeError: cannot be built"}
