"""Searches that keep themselves in a store: a folder here, and S3 where nodes of a cluster use it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import ray
import torch
from ray import cloudpickle
from ray.cluster_utils import Cluster
from torch import nn

from data.store import Store, StoreError
from models.cost import CellCost
from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import CellProposed, RungReached, SearchClosed, SearchOpened, TrialEnded, TrialInherited
from search.journal.journal import Journal
from search.journal.lines import JournalError, encode, read_events
from search.journal.record import SearchRecord
from search.journal.remote import keeper, owner, segments
from search.journal.remote.keeper import KeeperThread, StoredSearch
from search.journal.remote.owner import Owner
from search.journal.remote.segments import StoredJournal
from search.journal.study import Study
from search.running import kept_checkpoint
from search.running.faults.tolerance import FaultTolerance
from search.running.kept_checkpoint import KeptTask
from search.running.nodes.cluster import connect
from search.running.nodes.store_access import check_nodes
from search.running.resources import Resources
from search.running.run import run_study
from training.checkpoint import load_checkpoint, save_checkpoint
from training.score import RungScore

CELLS = [CellSpec((Branch(-1, AtrousConv((rate, rate))),)) for rate in range(1, 16)]
RUNGS = (1, 2, 3)

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def opened():
    return SearchOpened("stored", {}, {}, 1000.0)


def trial(number, cell=None):
    """The events of a trial from its proposal to its end."""
    start_s = 1000.0 + number
    proposed = CellProposed(number, cell or CELLS[number], number, 1000, 2_000_000, start_s)
    rungs = [RungReached(number, rung, 100 * rung, 0.1 * rung, 1.0, float(rung), rung < 2, "all", start_s) for rung in (1, 2)]
    return [proposed, *rungs, TrialEnded(number, Status.COMPLETED, "all", 2.0, start_s)]


@pytest.fixture
def place(tmp_path):
    return Store(f"file://{tmp_path}/store") / "search"


def restored(place, path):
    """The bytes of a new local journal that is restored from ``place``."""
    with Journal(path) as journal:
        StoredJournal(place, path).restore(journal)
    return path.read_bytes()


def wait_until(is_true, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not is_true() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert is_true()


# The journal in segments


def test_a_journal_comes_back_from_its_segments_byte_for_byte(place, tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2000)
    with Journal(tmp_path / "a.jsonl") as journal:
        stored = StoredJournal(place, journal.path)
        stored.restore(journal)
        journal.append(opened())
        for number in range(10):
            for event in trial(number):
                journal.append(event)
                stored.sync()
        assert 3 < len(place.names()) < 8
        assert stored.lines_missing() == 0
    assert restored(place, tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()
    assert len(SearchRecord(read_events(tmp_path / "b.jsonl")[0]).finished) == 10


def test_a_week_of_the_papers_search_is_some_hundred_segments():
    a_trial = sum(len(encode(event)[0]) for event in trial(10_000, CellSpec(CELLS[0].branches * 5)))
    assert 28_000 * a_trial / segments.SEGMENT_BYTES < 500


@pytest.mark.parametrize("has_here", [0, 1, 5, 9])
def test_a_journal_that_is_behind_the_stores_goes_on_from_it_and_the_store_from_there(place, tmp_path, has_here):
    events = [opened(), *trial(0), *trial(1)]
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


def test_a_journal_that_is_ahead_of_the_stores_is_brought_there(place, tmp_path):
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.append(opened())
        StoredJournal(place, journal.path).sync()
        journal.append(*trial(0))
        stored = StoredJournal(place, journal.path)
        assert stored.restore(journal) == 0
        assert stored.lines_missing() == 4
        stored.sync()
    assert restored(place, tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()


def test_journals_that_went_different_ways_are_refused_and_both_are_named(place, tmp_path):
    for name, number in (("a", 0), ("b", 1)):
        with Journal(tmp_path / f"{name}.jsonl") as journal:
            journal.append(opened(), *trial(0, CELLS[number]))
    StoredJournal(place, tmp_path / "a.jsonl").sync()
    before = (tmp_path / "b.jsonl").read_bytes()
    with pytest.raises(JournalError, match="went different ways") as refused:
        restored(place, tmp_path / "b.jsonl")
    assert str(tmp_path / "b.jsonl") in str(refused.value)
    assert str(place) in str(refused.value)
    assert (tmp_path / "b.jsonl").read_bytes() == before


def test_a_fork_that_was_killed_before_its_opening_line_begins_anew_on_either_side(place, tmp_path):
    for name, number in (("a", 0), ("b", 1)):
        with Journal(tmp_path / f"{name}.jsonl") as journal:
            journal.append(TrialInherited(0, "parent", True, CELLS[number], 7, 1, 2, (), Status.FAILED, "", 0.0, 1.0))
    StoredJournal(place, tmp_path / "a.jsonl").sync()
    assert restored(place, tmp_path / "b.jsonl") == b""
    assert place.names() == []


def three_segments(place, path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    with Journal(path) as journal:
        stored = StoredJournal(place, path)
        for events in ([opened()], trial(0), trial(1)):
            journal.append(*events)
            stored.sync()
    return place.names()


def test_a_damaged_segment_is_named_and_nothing_is_taken_from_it(place, tmp_path, monkeypatch):
    _, second, _ = three_segments(place, tmp_path / "a.jsonl", monkeypatch)
    place.write(second, place.read(second).replace(b"completed", b"divergent"))
    with pytest.raises(JournalError, match=f"{second}: .* damaged"):
        restored(place, tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_bytes() == b""


def test_a_missing_segment_is_noticed(place, tmp_path, monkeypatch):
    _, second, third = three_segments(place, tmp_path / "a.jsonl", monkeypatch)
    place.delete(second)
    with pytest.raises(JournalError, match=f"{third}: what comes before it is missing"):
        restored(place, tmp_path / "b.jsonl")


def test_a_last_segment_that_was_cut_short_gives_its_whole_lines(place, tmp_path, monkeypatch):
    *_, third = three_segments(place, tmp_path / "a.jsonl", monkeypatch)
    place.write(third, place.read(third)[:-20])
    whole = (tmp_path / "a.jsonl").read_bytes()
    assert restored(place, tmp_path / "b.jsonl") == b"".join(whole.splitlines(keepends=True)[:-1])


def test_what_a_driver_adds_after_it_lost_the_search_does_not_count(place, tmp_path):
    with Journal(tmp_path / "a.jsonl") as first:
        before = StoredJournal(place, first.path)
        first.append(opened(), *trial(0))
        before.sync()
        with Journal(tmp_path / "b.jsonl") as second:
            after = StoredJournal(place, second.path)
            after.restore(second)
            second.append(*trial(1))
            after.sync()
        first.append(*trial(2))
        before.sync()
    assert restored(place, tmp_path / "c.jsonl") == (tmp_path / "b.jsonl").read_bytes()


# Who keeps it


@pytest.fixture
def quick_owners(monkeypatch):
    monkeypatch.setattr(owner, "BEAT_S", 0.0)
    monkeypatch.setattr(owner, "POLL_S", 0.02)


def test_a_search_that_another_driver_runs_is_refused(place, quick_owners):
    first, told = Owner(place), []
    first.claim(told.append)
    is_over = threading.Event()

    def live():
        while not is_over.wait(0.1):
            first.beat()

    driver = threading.Thread(target=live)
    driver.start()
    try:
        with pytest.raises(JournalError, match=f"already running .process {os.getpid()} on {socket.gethostname()}"):
            Owner(place).claim(told.append, watch_s=20.0)
    finally:
        is_over.set()
        driver.join()
    assert len(told) == 1
    first.beat()


def test_a_silent_driver_elsewhere_loses_its_search_and_hears_of_it(place, quick_owners):
    first, second, told = Owner(place), Owner(place), []
    first.claim(told.append)
    second.claim(told.append, watch_s=0.3)
    assert told == [
        f"Waiting up to 0.3 s to see whether process {os.getpid()} on {socket.gethostname()} still runs this search"
    ]
    with pytest.raises(JournalError, match="has taken this search over"):
        first.beat()
    first.release()
    second.beat()


@pytest.mark.parametrize("ended", ["died here", "died in another container", "gave it up", "was cut short"])
def test_a_search_without_a_driver_is_taken(place, quick_owners, ended):
    told = []
    if ended.startswith("died"):
        with subprocess.Popen(["true"]) as gone:
            pass
        first = Owner(place)
        first.claim(told.append)
        held = json.loads(place.read(owner.FILE))
        changed = {"container": "another"} if "container" in ended else {}
        place.write(owner.FILE, json.dumps(held | {"process": gone.pid} | changed).encode())
    elif ended == "gave it up":
        first = Owner(place)
        first.claim(told.append)
        first.release()
    else:
        place.write(owner.FILE, b'{"host": "elsewhere", "pro')
    Owner(place).claim(told.append, watch_s=0.1)
    assert len(told) == (ended in ("was cut short", "died in another container"))


# Beside a running search


@pytest.fixture
def quick_keeper(monkeypatch, quick_owners):
    monkeypatch.setattr(keeper, "POLL_S", 0.02)
    monkeypatch.setattr(keeper, "RETRY_S", (0.05, 0.1))


def test_journal_and_results_follow_a_search_and_checkpoints_go_with_their_trials(place, tmp_path, quick_keeper):
    told, record = [], SearchRecord()
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        thread = KeeperThread(search, record, [tmp_path / "best.json"], told.append)
        thread.start()
        for event in (opened(), *trial(0)[:1], *trial(1)[:1]):
            journal.append(event)
            record.apply(event)
        names = [record.checkpoint_name(number) for number in range(2)]
        for name in names:
            search.checkpoints.write(name, b"state")
        for event in trial(0)[1:]:
            journal.append(event)
            record.apply(event)
        (tmp_path / "best.json").write_text("first")
        wait_until(lambda: search.checkpoints.names() == names[1:])
        wait_until(lambda: place.read("best.json") == b"first")
        (tmp_path / "best.json").write_text("the second")
        wait_until(lambda: place.read("best.json") == b"the second")
        last = SearchClosed("1 trials", 2000.0)
        journal.append(last)
        record.apply(last)
        assert thread.close(20.0) == ""
        search.owner.release()
    assert search.checkpoints.names() == []
    assert told == []
    assert place.names() == ["best.json"]
    assert restored(place / "journal", tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()


def test_a_store_that_fails_is_told_once_delays_nothing_and_catches_up(place, tmp_path, quick_keeper):
    told, here = [], tmp_path / "store"
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        thread = KeeperThread(search, SearchRecord(), [], told.append)
        thread.start()
        journal.append(opened())
        wait_until(lambda: search.journal.size_bytes > 0)
        here.rename(tmp_path / "away")
        here.touch()  # a file where the folder was: every use fails
        journal.append(*trial(0))
        wait_until(lambda: told)
        time.sleep(0.5)
        assert len(told) == 1
        assert told[0].startswith(f"The store fails and is tried again; the search goes on: {place}")
        here.unlink()
        (tmp_path / "away").rename(here)
        wait_until(lambda: len(told) == 2)
        assert told[1] == f"{place} holds everything again"
        assert thread.close(20.0) == ""
    assert restored(place / "journal", tmp_path / "b.jsonl") == (tmp_path / "a.jsonl").read_bytes()


def test_a_store_that_fails_at_the_end_is_waited_for_a_while_and_what_it_lacks_is_said(place, tmp_path, quick_keeper):
    told = []
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "store").touch()
        thread = KeeperThread(search, SearchRecord(), [tmp_path / "best.json"], told.append)
        thread.start()
        journal.append(opened(), *trial(0))
        (tmp_path / "best.json").write_text("{}")
        started_s = time.monotonic()
        lacking = thread.close(1.0)
    assert time.monotonic() - started_s < 20
    assert lacking.startswith(f"5 lines of the journal, best.json ({place}")


def test_a_driver_whose_search_was_taken_over_says_so_and_writes_no_more(place, tmp_path, quick_keeper):
    told = []
    with Journal(tmp_path / "a.jsonl") as journal:
        search = StoredSearch(place, journal.path)
        search.restore(journal, told.append)
        thread = KeeperThread(search, SearchRecord(), [], told.append)
        place.write(owner.FILE, b'{"host": "elsewhere", "process": 7, "token": "theirs"}')
        thread.start()
        journal.append(opened())
        thread.join(20.0)
        assert not thread.is_alive()
        assert thread.close(1.0).startswith("1 lines of the journal (")
    assert "process 7 on elsewhere has taken this search over. What this process finds from here on stays in" in told[0]
    assert (place / "journal").names() == []


# Checkpoints


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


def test_a_trial_that_moves_to_another_disk_goes_on_from_its_checkpoint(place, tmp_path, quick_uploads):
    log, name = tmp_path / "log.txt", f"{CELLS[0].digest}.safetensors"
    before = KeptTask(Counting(log), place)(CELLS[0], 0, tmp_path / "a" / name)
    told = [next(before), next(before)]
    wait_until(lambda: place.read(name) == (tmp_path / "a" / name).read_bytes())
    after = list(KeptTask(Counting(log), place)(CELLS[0], 0, tmp_path / "b" / name))
    assert after[:2] == told
    assert computed(log) == ["1", "2", "3"]


@pytest.mark.parametrize("rungs_here", [1, 2])
def test_the_further_of_two_checkpoints_counts(place, tmp_path, quick_uploads, rungs_here):
    log, name = tmp_path / "log.txt", f"{CELLS[0].digest}.safetensors"
    for folder, rungs in (("here", rungs_here), ("stored", 3 - rungs_here)):
        scores = Counting(tmp_path / "made.txt")(CELLS[0], 0, tmp_path / folder / name)
        for _ in range(rungs):
            next(scores)
    place.upload(tmp_path / "stored" / name, name)
    assert len(list(KeptTask(Counting(log), place)(CELLS[0], 0, tmp_path / "here" / name))) == 3
    assert computed(log) == ["3"]


def test_a_damaged_checkpoint_in_the_store_counts_as_none(place, tmp_path, quick_uploads):
    log, name = tmp_path / "log.txt", f"{CELLS[0].digest}.safetensors"
    whole = tmp_path / "whole" / name
    next(Counting(tmp_path / "made.txt")(CELLS[0], 0, whole))
    place.write(name, whole.read_bytes()[:-10])
    list(KeptTask(Counting(log), place)(CELLS[0], 0, tmp_path / "here" / name))
    assert computed(log) == ["1", "2", "3"]


def test_a_store_that_fails_costs_no_score_and_keeps_the_local_checkpoint(tmp_path, quick_uploads):
    (tmp_path / "store").touch()
    log, checkpoint = tmp_path / "log.txt", tmp_path / "here" / f"{CELLS[0].digest}.safetensors"
    task = KeptTask(Counting(log), Store(f"file://{tmp_path}/store"))
    scores = task(CELLS[0], 0, checkpoint)
    assert [next(scores).rung for _ in range(3)] == [1, 2, 3]
    wait_until(lambda: task._uploads.is_failing)
    scores.close()
    assert checkpoint.exists()


def test_a_trial_that_ended_leaves_no_checkpoint_on_its_node(place, tmp_path, quick_uploads):
    checkpoint = tmp_path / "here" / f"{CELLS[0].digest}.safetensors"
    scores = KeptTask(Counting(tmp_path / "log.txt"), place)(CELLS[0], 0, checkpoint)
    next(scores)
    assert checkpoint.exists()
    scores.close()
    assert list(checkpoint.parent.iterdir()) == []


# On a cluster


@pytest.fixture(scope="module")
def cluster(s3_server):
    """Two nodes, of which the second looks for S3 at another place."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    here = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_server.port}"}
    before = {name: os.environ.get(name) for name in here}
    os.environ.update(here)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    nodes.add_node(num_cpus=1, env_vars={"AWS_ENDPOINT_URL_S3": elsewhere})
    connect(nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_node_that_cannot_use_the_store_is_named_before_a_trial_starts(cluster, s3_server, tmp_path):
    check_nodes(Store(s3_server.uri(uuid4().hex)), tmp_path / "checkpoints")
    of_variables = Store(f"s3://bucket/{uuid4().hex}")
    with pytest.raises(StoreError, match="store: node .* cannot use it: s3://bucket/.*Could not connect to server"):
        check_nodes(of_variables, tmp_path / "checkpoints")
    assert of_variables.names() == []


def test_a_node_that_cannot_make_the_folder_of_checkpoints_is_named(cluster, s3_server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"store: node .* cannot use it: .*Not a directory: .*file/checkpoints"):
        check_nodes(Store(s3_server.uri(uuid4().hex)), tmp_path / "file" / "checkpoints")


def test_a_trial_whose_node_and_disk_are_lost_goes_on_from_the_store(cluster, s3_server, tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1])})
    plan = Plan(space, Uniform(), NoStopping(), RUNGS, 1, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1))
    store = Store(s3_server.uri(uuid4().hex))
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(), plan, opened())
        task = KeptTask(Counting(tmp_path / "log.txt", dies_at=3), store)
        run_study(study, task, Resources(), FaultTolerance(retries=1), tmp_path / "checkpoints", space.operator_kinds)
    assert [trial.status for trial in study.record.finished] == [Status.COMPLETED]
    assert computed(tmp_path / "log.txt") == ["1", "2", "3"]
