"""Checkpoints in a store, and nodes that cannot use it: a folder here, and S3 on a cluster."""

import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from ray import cloudpickle
from torch import nn

from data.store import Store, StoreError
from models.cost import CellCost
from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.running import kept_checkpoint
from search.running.faults.tolerance import FaultTolerance
from search.running.kept_checkpoint import KeptTask
from search.running.nodes.cluster import connect
from search.running.nodes.store_access import check_nodes
from search.running.resources import Resources
from search.running.run import run_study
from search.running.task import NodeDrainingError
from training.checkpoint import load_checkpoint, save_checkpoint
from training.score import RungScore

CELL = CellSpec((Branch(-1, AtrousConv((1, 1))),))
RUNGS = (1, 2, 3)

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Counting:
    """Scores a cell without training, with checkpoints of the real kind; each computed rung leaves a line in ``log``.

    Where ``dies_at`` names a rung, the process is killed before it, once, and its disk is lost.
    """

    log: Path
    dies_at: int = 0

    def __call__(self, cell, seed, checkpoint=None):
        model = nn.Linear(1, 1)
        optimizer = torch.optim.AdamW(model.parameters())
        state = load_checkpoint(checkpoint, model, [optimizer])
        scores = [RungScore(**score) for score in state["scores"]] if state else []
        yield from scores
        for rung in range(len(scores) + 1, len(RUNGS) + 1):
            if rung == self.dies_at and not self.log.with_suffix(".died").exists():
                time.sleep(3 * kept_checkpoint.POLL_S)
                self.log.with_suffix(".died").touch()
                shutil.rmtree(checkpoint.parent)
                os.kill(os.getpid(), signal.SIGKILL)
            scores.append(RungScore(rung, RUNGS[rung - 1], 0.1 * rung, 1.0, float(rung)))
            with self.log.open("a") as log:
                log.write(f"{cell.digest} {rung}\n")
            save_checkpoint(checkpoint, model, [optimizer], {"scores": [asdict(score) for score in scores]})
            yield scores[-1]


@pytest.fixture
def quick_uploads(monkeypatch):
    monkeypatch.setattr(kept_checkpoint, "POLL_S", 0.02)


def computed(log):
    return [line.split()[1] for line in log.read_text().splitlines()]


def test_a_trial_that_moves_to_another_disk_goes_on_from_its_checkpoint(place, tmp_path, quick_uploads, wait_until):
    log, name = tmp_path / "log.txt", f"{CELL.digest}.safetensors"
    before = KeptTask(Counting(log), place)(CELL, 0, tmp_path / "a" / name)
    told = [next(before), next(before)]
    wait_until(lambda: place.read(name) == (tmp_path / "a" / name).read_bytes())
    after = list(KeptTask(Counting(log), place)(CELL, 0, tmp_path / "b" / name))
    assert after[:2] == told
    assert computed(log) == ["1", "2", "3"]


@pytest.mark.parametrize("rungs_here", [1, 2])
def test_the_further_of_two_checkpoints_counts(place, tmp_path, quick_uploads, rungs_here):
    log, name = tmp_path / "log.txt", f"{CELL.digest}.safetensors"
    for folder, rungs in (("here", rungs_here), ("stored", 3 - rungs_here)):
        scores = Counting(tmp_path / "made.txt")(CELL, 0, tmp_path / folder / name)
        for _ in range(rungs):
            next(scores)
    place.upload(tmp_path / "stored" / name, name)
    assert len(list(KeptTask(Counting(log), place)(CELL, 0, tmp_path / "here" / name))) == 3
    assert computed(log) == ["3"]


def test_a_damaged_checkpoint_in_the_store_counts_as_none(place, tmp_path, quick_uploads):
    log, name = tmp_path / "log.txt", f"{CELL.digest}.safetensors"
    whole = tmp_path / "whole" / name
    next(Counting(tmp_path / "made.txt")(CELL, 0, whole))
    place.write(name, whole.read_bytes()[:-10])
    list(KeptTask(Counting(log), place)(CELL, 0, tmp_path / "here" / name))
    assert computed(log) == ["1", "2", "3"]


def test_a_store_that_fails_costs_no_score_and_keeps_the_local_checkpoint(tmp_path, quick_uploads, wait_until):
    (tmp_path / "store").touch()
    log, checkpoint = tmp_path / "log.txt", tmp_path / "here" / f"{CELL.digest}.safetensors"
    task = KeptTask(Counting(log), Store(f"file://{tmp_path}/store"))
    scores = task(CELL, 0, checkpoint)
    assert [next(scores).rung for _ in range(3)] == [1, 2, 3]
    wait_until(lambda: task._uploads.is_failing)
    scores.close()
    assert checkpoint.exists()


def test_a_trial_that_ended_leaves_no_checkpoint_on_its_node(place, tmp_path, quick_uploads):
    checkpoint = tmp_path / "here" / f"{CELL.digest}.safetensors"
    scores = KeptTask(Counting(tmp_path / "log.txt"), place)(CELL, 0, checkpoint)
    next(scores)
    assert checkpoint.exists()
    scores.close()
    assert list(checkpoint.parent.iterdir()) == []


def test_a_trial_that_leaves_a_node_which_drains_has_brought_its_last_rung_away(place, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_checkpoint, "POLL_S", 60.0)
    monkeypatch.setattr(kept_checkpoint._Uploads, "wake", lambda uploads: None)
    checkpoint = tmp_path / "here" / f"{CELL.digest}.safetensors"
    scores = KeptTask(Counting(tmp_path / "log.txt"), place)(CELL, 0, checkpoint)
    next(scores)
    with pytest.raises(NodeDrainingError):
        scores.throw(NodeDrainingError())
    assert place.read(checkpoint.name) == checkpoint.read_bytes()


def test_a_rung_is_brought_to_the_store_as_soon_as_it_is_told(place, tmp_path, monkeypatch, wait_until):
    monkeypatch.setattr(kept_checkpoint, "POLL_S", 60.0)
    checkpoint = tmp_path / "here" / f"{CELL.digest}.safetensors"
    scores = KeptTask(Counting(tmp_path / "log.txt"), place)(CELL, 0, checkpoint)
    for _ in range(2):
        next(scores)
        wait_until(lambda: place.read(checkpoint.name) == checkpoint.read_bytes())


def test_the_only_copy_of_a_state_is_not_deleted_while_the_store_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_checkpoint, "POLL_S", 60.0)
    (tmp_path / "store").touch()
    checkpoint = tmp_path / "here" / f"{CELL.digest}.safetensors"
    scores = KeptTask(Counting(tmp_path / "log.txt"), Store(f"file://{tmp_path}/store"))(CELL, 0, checkpoint)
    next(scores)
    scores.close()
    assert checkpoint.exists()


def test_a_store_that_was_found_to_fail_is_waited_for_no_more(place, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_checkpoint, "POLL_S", 60.0)
    monkeypatch.setattr(kept_checkpoint._Uploads, "wake", lambda uploads: None)
    asked = []

    def fail(store, *given):
        asked.append(given)
        raise StoreError("no answer")

    monkeypatch.setattr(Store, "download", fail)
    monkeypatch.setattr(Store, "upload", fail)
    task, checkpoint = KeptTask(Counting(tmp_path / "log.txt"), place), tmp_path / "here" / f"{CELL.digest}.safetensors"
    for _ in range(2):
        scores = task(CELL, 0, checkpoint)
        next(scores)
        scores.close()
    assert len(asked) == 1
    assert checkpoint.exists()


@pytest.fixture(scope="module")
def cluster(ray_cluster, s3_server):
    """Two nodes, of which the second looks for S3 at another place."""
    here = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_server.port}"}
    before = {name: os.environ.get(name) for name in here}
    os.environ.update(here)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with ray_cluster(num_cpus=2) as nodes:
        nodes.add_node(num_cpus=1, env_vars={"AWS_ENDPOINT_URL_S3": elsewhere})
        connect(nodes.address)
        yield nodes
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_node_that_cannot_use_the_store_is_named_before_a_trial_starts(cluster, s3_server, tmp_path):
    check_nodes(Store(s3_server.uri(uuid4().hex)), tmp_path / "checkpoints", Resources(), "a digest")
    of_variables = Store(f"s3://bucket/{uuid4().hex}")
    with pytest.raises(StoreError, match="store: node .* cannot use it: s3://bucket/.*Could not connect to server"):
        check_nodes(of_variables, tmp_path / "checkpoints", Resources(), "a digest")
    assert of_variables.names() == []


def test_a_node_that_cannot_make_the_folder_of_checkpoints_is_named(cluster, s3_server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"store: node .* cannot use it: .*Not a directory: .*file/checkpoints"):
        check_nodes(Store(s3_server.uri(uuid4().hex)), tmp_path / "file" / "checkpoints", Resources(), "a digest")


def test_a_trial_whose_node_and_disk_are_lost_goes_on_from_the_store(cluster, s3_server, tmp_path, opened):
    space = CellSpace(1, {"atrous": AtrousConvs([1])})
    plan = Plan(space, Uniform(), NoStopping(), RUNGS, 1, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1))
    store = Store(s3_server.uri(uuid4().hex))
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(), plan, opened)
        task = KeptTask(Counting(tmp_path / "log.txt", dies_at=3), store)
        run_study(
            study,
            task,
            resources=Resources(),
            tolerance=FaultTolerance(retries=1),
            checkpoints=tmp_path / "checkpoints",
            operators=space.operator_kinds,
        )
    assert [trial.status for trial in study.record.finished] == [Status.COMPLETED]
    assert computed(tmp_path / "log.txt") == ["1", "2", "3"]
