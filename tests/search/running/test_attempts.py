"""GPUs that are shared, short of memory or broken: a real Ray cluster of two nodes whose GPUs are only counted."""

import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from errno import EIO
from pathlib import Path
from random import Random
from threading import Thread

import pytest
import ray
import torch
from ray import cloudpickle

from models.cost import CellCost
from search.deciding.algorithms.base import proposal_seed
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.journal.events import SearchClosed, SearchOpened, TrialEnded
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.running import attempts
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cluster import connect
from search.running.nodes.gpus import NoGpuOnNodeError, check_gpus
from search.running.resources import Resources, ResourcesError
from search.running.run import run_study
from training.score import RungScore

SPACE = CellSpace(1, {"atrous": AtrousConvs([1, 3, 6, 9])})  # 16 cells
SMALL, NOT_SMALL = {"pool": "small"}, {"pool": "!small"}
DEVICE_ERROR = RuntimeError("CUDA error: uncorrectable ECC error encountered")
DISK_ERROR = OSError(EIO, "Input/output error")

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Visit:
    """An attempt at a cell, as the task saw it."""

    digest: str
    device: str
    others: int
    threads: str


@dataclass(frozen=True)
class Toy:
    """Scores a cell in two rungs and writes down where, and how many others were on its GPU or node meanwhile.

    Attributes:
        broken: the device, ``<last of the node's id>:<CUDA_VISIBLE_DEVICES>``, on which every cell fails.
        error: what it raises there.
        faults: of cells, by digest.
        together: every cell without a fault waits until so many of these have begun.
    """

    folder: Path
    broken: str = ""
    error: Exception = DEVICE_ERROR
    faults: tuple[tuple[str, str], ...] = ()
    together: int = 1
    rung_s: float = 0.2
    imports_torch: bool = False

    def __call__(self, cell, seed, checkpoint=None):
        node = ray.get_runtime_context().get_node_id()[-6:]
        device = f"{node}:{os.environ.get('CUDA_VISIBLE_DEVICES', '')}"
        here = self.folder / "running" / device
        here.mkdir(parents=True, exist_ok=True)
        (here / cell.digest).touch()
        others = 0
        try:
            self._begin(cell, device)
            yield RungScore(1, 1, 0.25, 1.0, 0.1)
            self._mark("well", cell.digest)
            time.sleep(self.rung_s)
            others = len(list(here.iterdir())) - 1
        finally:
            (here / cell.digest).unlink()
            with (self.folder / "visits.txt").open("a") as visits:
                visits.write(f"{cell.digest} {device} {others} {self._threads()}\n")
        yield RungScore(2, 2, 0.5, 1.0, 0.1)

    def _begin(self, cell, device):
        is_first = cell.digest not in self._marked("begun")
        self._mark("begun", cell.digest)
        faults = dict(self.faults)
        fault = faults.get(cell.digest, "")
        while not fault and len(self._marked("begun") - faults.keys()) < self.together:
            time.sleep(0.05)
        if self.broken and (is_first or device == self.broken):
            self._leave_time_to_fail(cell.digest, device)
        if device == self.broken or fault == "fails on every GPU":
            raise self.error
        if fault == "is large" or (fault == "is large beside others" and is_first):
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        if fault == "is large in the node" or (fault == "is large beside others in the node" and is_first):
            raise MemoryError

    def _leave_time_to_fail(self, digest, device):
        """On other GPUs, cells wait until one has failed on the broken one that began there after another had gone well
        elsewhere: those that fail at once count as one. Meanwhile they leave room for the ones that are tried again.
        """
        if device == self.broken:
            self._mark("failed later" if self._marked("failed") & self._marked("well") else "failed", digest)
        until_s = time.monotonic() + 60
        while device != self.broken and not self._marked("failed later") and time.monotonic() < until_s:
            time.sleep(0.1)
            if self._marked("failed") - self._marked("well"):
                time.sleep(2)  # not all cells shall pass before a process has started for the one that is tried again
                return

    def _mark(self, what, digest):
        (self.folder / what).mkdir(exist_ok=True)
        (self.folder / what / digest).touch()

    def _marked(self, what):
        return {path.name for path in (self.folder / what).glob("*")}

    def _threads(self):
        if not self.imports_torch:
            return "-"
        import cv2
        import torch

        return f"{torch.get_num_threads()}/{cv2.getNumThreads()}"


@pytest.fixture(scope="module")
def cluster(ray_cluster, tmp_path_factory):
    os.environ["CUDA_MPS_PIPE_DIRECTORY"] = str(tmp_path_factory.mktemp("mps"))
    Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"], "control").touch()
    with ray_cluster(num_cpus=4, num_gpus=2) as nodes:
        nodes.add_node(num_cpus=2, num_gpus=1, labels=SMALL, resources={"fast_disk": 2})
        connect(nodes.address)
        yield nodes


def search(folder, toy, resources, trials=10, retries=0, said=None):
    plan = Plan(SPACE, Uniform(), NoStopping(), (1, 2), trials, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1))
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(journal, SearchRecord(journal.events), plan, SearchOpened("toy", {}, {}, 0.0))
        tolerance = FaultTolerance(retries=retries)
        say = (lambda line: None) if said is None else said.append
        run_study(
            study,
            toy,
            resources=resources,
            tolerance=tolerance,
            checkpoints=folder / "checkpoints",
            operators=SPACE.operator_kinds,
            say=say,
        )
    assert study.is_complete
    return study.record


def visits(folder):
    lines = [line.split() for line in (folder / "visits.txt").read_text().splitlines()]
    return [Visit(digest, device, int(others), threads) for digest, device, others, threads in lines]


def head_gpu(number):
    head = next(node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU") == 2)
    return f"{head['NodeID'][-6:]}:{number}"


def some_cell(number=2):
    """The one that every search of ten trials proposes as its ``number``-th."""
    return SPACE.sample(Random(proposal_seed(0, number))).digest


def test_a_quarter_of_a_gpu_a_trial_packs_four_on_one(cluster, tmp_path):
    toy = Toy(tmp_path, together=4, rung_s=0.5)
    record = search(tmp_path, toy, Resources(cpu=0.25, gpu=0.25, custom={"fast_disk": 0.5}, label_selector=SMALL), trials=4)
    assert {trial.status for trial in record.finished} == {Status.COMPLETED}
    assert len({visit.device for visit in visits(tmp_path)}) == 1


def test_trials_that_run_out_of_memory_beside_others_are_scored_alone(cluster, tmp_path):
    large = {some_cell(2): "is large beside others", some_cell(3): "is large beside others in the node"}
    toy = Toy(tmp_path, faults=tuple(large.items()), together=2, rung_s=0.5)
    record = search(tmp_path, toy, Resources(cpu=0.5, gpu=0.5, label_selector=SMALL))
    assert {trial.miou for trial in record.finished} == {0.5}
    seen = visits(tmp_path)
    assert Counter(visit.digest for visit in seen) == {trial.cell.digest: 1 for trial in record.finished} | dict.fromkeys(
        large, 2
    )
    for visit in seen[-2:]:  # packed trials do not wait for them
        assert visit.digest in large
        assert visit.others == 0
    assert max(visit.others for visit in seen) > 0


def test_trials_that_run_out_of_memory_even_alone_have_no_score(cluster, tmp_path):
    large = {
        some_cell(2): ("is large", r"a GPU: RuntimeError: CUDA out of memory\. Tried to allocate 20\.00 GiB\."),
        some_cell(3): ("is large in the node", r"[\d.]+: MemoryError"),
    }
    toy = Toy(tmp_path, faults=tuple((digest, fault) for digest, (fault, _) in large.items()))
    record = search(tmp_path, toy, Resources(cpu=0.5, gpu=0.5, label_selector=SMALL))
    ended, seen = {trial.cell.digest: trial for trial in record.finished}, Counter(visit.digest for visit in visits(tmp_path))
    for digest, (_, reason) in large.items():
        trial = ended.pop(digest)
        assert (trial.status, trial.miou) == (Status.FAILED, None)
        assert re.fullmatch(rf"out of memory even alone on {reason}", trial.ended.reason)
        assert seen[digest] == 2
    assert {trial.status for trial in ended.values()} == {Status.COMPLETED}


@pytest.mark.parametrize("gpu", [1, 0.5])
def test_a_gpu_that_fails_trials_which_go_well_elsewhere_is_left_out(cluster, tmp_path, gpu):
    said = []
    resources = Resources(cpu=0.5, gpu=gpu, label_selector=NOT_SMALL)
    record = search(tmp_path, Toy(tmp_path, broken=head_gpu(0)), resources, trials=12, said=said)
    assert {trial.miou for trial in record.finished} == {0.5}  # and no retry was allowed
    failed = [visit for visit in visits(tmp_path) if visit.device == head_gpu(0)]
    assert 2 <= len(failed) <= 2 / gpu + 1
    (left_out,) = record.left_out
    assert re.fullmatch(r"[\d.]+ GPU 0", left_out.device)
    assert left_out.reason == f"RuntimeError: {DEVICE_ERROR}"
    assert said == [f"{left_out.device} is left out: trials failed there and went well elsewhere. {left_out.reason}"]


def test_a_node_whose_disk_fails_trials_which_go_well_elsewhere_is_left_out(cluster, tmp_path):
    said = []
    small = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and "fast_disk" in node["Resources"])
    toy = Toy(tmp_path, broken=f"{small[-6:]}:", error=DISK_ERROR)
    record = search(tmp_path, toy, Resources(cpu=1), trials=12, said=said)
    assert {trial.miou for trial in record.finished} == {0.5}  # and no retry was allowed
    failed = [visit for visit in visits(tmp_path) if visit.device == toy.broken]
    assert 2 <= len(failed) <= 5  # it has two places, and each may be free again before the second trial goes well elsewhere
    (left_out,) = record.left_out
    assert re.fullmatch(r"node [\d.]+", left_out.device)
    assert said == [f"{left_out.device} is left out: trials failed there and went well elsewhere. OSError: {DISK_ERROR}"]


def test_a_cell_that_fails_on_every_gpu_blames_none(cluster, tmp_path):
    record = search(tmp_path, Toy(tmp_path, faults=((some_cell(), "fails on every GPU"),)), Resources(cpu=0.5, gpu=1))
    ended = {trial.cell.digest: trial for trial in record.finished}
    assert ended.pop(some_cell()).ended.reason == f"errors wherever it was tried: RuntimeError: {DEVICE_ERROR}"
    assert {trial.status for trial in ended.values()} == {Status.COMPLETED}
    assert len({visit.device for visit in visits(tmp_path) if visit.digest == some_cell()}) == 2
    assert record.left_out == []


def test_where_there_is_one_gpu_its_errors_count_as_retries(cluster, tmp_path):
    toy = Toy(tmp_path, faults=((some_cell(), "fails on every GPU"),))
    record = search(tmp_path, toy, Resources(cpu=0.5, gpu=1, label_selector=SMALL), retries=1)
    ended = {trial.cell.digest: trial for trial in record.finished}
    assert ended.pop(some_cell()).ended.reason == f"after 1 retries: RuntimeError: {DEVICE_ERROR}"
    assert {trial.status for trial in ended.values()} == {Status.COMPLETED}
    assert Counter(visit.digest for visit in visits(tmp_path))[some_cell()] == 2


def test_gpus_that_are_left_out_are_used_again_when_all_others_have_gone(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "PATIENCE_S", 5.0)
    broken, sound = (cluster.add_node(num_cpus=2, num_gpus=1, labels={"pool": "extra"}) for _ in range(2))
    toy = Toy(tmp_path, broken=f"{broken.node_id[-6:]}:0", rung_s=3)
    said = []

    def take_the_sound_node():
        while not said:
            time.sleep(0.2)
        cluster.remove_node(sound)

    taking = Thread(target=take_the_sound_node, daemon=True)
    taking.start()
    resources = Resources(cpu=1, gpu=0.5, label_selector={"pool": "extra"})
    record = search(tmp_path, toy, resources, trials=10, retries=1, said=said)
    taking.join()
    cluster.remove_node(broken)
    assert "is left out" in said[0]
    assert said[-1].startswith("No other GPU or node has room: those left out are used again")
    failed = [trial for trial in record.finished if trial.status == Status.FAILED]
    assert {trial.ended.reason for trial in failed} == {f"after 1 retries: RuntimeError: {DEVICE_ERROR}"}
    assert record.ends == {Status.COMPLETED: 10 - len(failed), Status.FAILED: len(failed)}


def test_a_trial_that_waits_for_a_node_that_has_gone_gets_the_largest_that_is_left(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "PATIENCE_S", 5.0)
    large, small = (cluster.add_node(num_cpus=cpus, labels={"pool": "uneven"}) for cpus in (3, 2))
    toy = Toy(tmp_path, faults=((some_cell(), "is large beside others in the node"),), together=5)

    def take_the_large_node():
        while not (tmp_path / "visits.txt").exists() or len(list((tmp_path / "begun").iterdir())) < 5:
            time.sleep(0.2)
        time.sleep(2)  # the next attempt is asked for
        cluster.remove_node(large)
        (tmp_path / "begun" / "the node has gone").touch()  # the others had waited for it

    taking = Thread(target=take_the_large_node, daemon=True)
    taking.start()
    said = []
    record = search(tmp_path, toy, Resources(cpu=1, label_selector={"pool": "uneven"}), trials=5, retries=1, said=said)
    taking.join()
    cluster.remove_node(small)
    assert record.ends == {Status.COMPLETED: 5}
    assert re.fullmatch(r"Trial \d waited for a larger node than any that is left: it gets the largest of those\.", *said)
    last = visits(tmp_path)[-1]
    assert (last.digest, last.device, last.others) == (some_cell(), f"{small.node_id[-6:]}:", 0)


def test_a_search_that_is_resumed_tries_a_large_trial_beside_others_first_and_alone_again(cluster, tmp_path):
    toy = Toy(tmp_path, faults=((some_cell(), "is large"),))
    resources = Resources(cpu=0.5, gpu=0.5, label_selector=SMALL)
    search(tmp_path, toy, resources, trials=3)
    path = tmp_path / "journal.jsonl"
    events, _ = read_events(path)
    path.unlink()
    with Journal(path) as journal:
        journal.append(*(event for event in events if not isinstance(event, SearchClosed) and not has_failed(event)))
    record = search(tmp_path, toy, resources, trials=3)
    assert record.ends == {Status.COMPLETED: 2, Status.FAILED: 1}
    assert Counter(visit.digest for visit in visits(tmp_path)) == {some_cell(): 4} | {
        trial.cell.digest: 1 for trial in record.finished if trial.status == Status.COMPLETED
    }


def has_failed(event):
    return isinstance(event, TrialEnded) and event.status == Status.FAILED


@pytest.mark.parametrize(("cpu", "threads"), [(0.5, "1/1"), (1, "1/1"), (2, "2/1")])
def test_a_trial_computes_with_as_many_threads_as_it_has_cpus(cluster, tmp_path, cpu, threads):
    search(tmp_path, Toy(tmp_path, imports_torch=True), Resources(cpu=cpu), trials=1)
    assert [visit.threads for visit in visits(tmp_path)] == [threads]


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (Resources(custom={"tape": 1}), r"resources\.custom\.tape: no node has it; nodes have CPU, GPU, fast_disk, memory, "),
        (Resources(custom={"fast_disk": 3}), r"resources\.custom\.fast_disk: a trial asks for 3, the largest node .* has 2\."),
        (
            Resources(label_selector={"pool": "!small", "zone": "eu"}),
            r"label_selector\.zone: no node is eu; .* pool",
        ),
        (
            Resources(label_selector={"pool": "in(big, huge)"}),
            r"label_selector\.pool: no node is .*; nodes are small",
        ),
        (Resources(gpu=2, custom={"fast_disk": 1}), r"resources: no single node has all of CPU 1, GPU 2, fast_disk 1\."),
    ],
)
def test_resources_and_labels_that_no_node_has_are_refused(cluster, tmp_path, resources, said):
    with pytest.raises(ResourcesError, match=said):
        search(tmp_path, Toy(tmp_path), resources, trials=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here torch has GPUs")
def test_a_node_that_ray_counts_with_gpus_and_torch_finds_none_on_is_named_before_any_trial(cluster):
    with pytest.raises(NoGpuOnNodeError, match=r"^resources\.gpu: Ray counts GPUs on node \S+ \(\S+\), .*: .*\S \(docs"):
        check_gpus(Resources(gpu=1))
