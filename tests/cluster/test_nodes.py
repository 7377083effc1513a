"""A submitted search whose nodes die, drain, join and fall silent: real heads and workers, a real search, a shared disk."""

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2
from rich.console import Console

from search.cli import main
from search.config import load
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.lines import read_events
from search.journal.replay import replay
from search.session.scoring import by_proxy
from search.settings.search import read
from training.checkpoint import read_metadata

from .conftest import running_head, running_worker, worker_ids

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
FAST = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""As the launch files set them."""
SEARCH = (
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[3,6,9,12,15,18,21,24]",
    "proxy.batch_size=2",
    "proxy.cell.filters=8",
    "scheduler=none",
    "trials=3",
    "deterministic=true",
    "window=2",
)


def submit(head, *arguments):
    """In this process, which has imported all that it needs."""
    assert main(["submit", f"address={head.dashboard_url}", *arguments]) == 0


def send(head, folder):
    submit(head, "job=search", "wait=false", "--", "search", *SEARCH, f"output_dir={folder}", "name=sent")


def wait_for(value):
    """What ``value`` gives, as soon as it gives something."""
    deadline_s = time.monotonic() + 300
    while not (found := value()):
        assert time.monotonic() < deadline_s, "waited for nothing"
        time.sleep(0.05)
    return found


def trials_on(worker):
    """The trials that train there: by digest of the cell, the process that holds its watchdog's file open."""
    found = {}
    for pid in worker.family():
        with suppress(FileNotFoundError):  # a process that ends, a file that closes
            names = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
            found |= {name.stem: pid for name in names if name.suffix == ".hung"}
    return found


def halted_on(worker, checkpoints):
    """The cell and the process of the worker's trial, halted as soon as two of its rungs are kept; None before."""
    if any(rungs_in(path) >= 2 for path in checkpoints.glob("*.safetensors")):
        for cell, pid in trials_on(worker).items():
            if rungs_of(checkpoints, cell) >= 2:
                os.kill(pid, signal.SIGSTOP)
                return cell, pid
    return None


def drain(worker, head):
    """As a cloud's notice that it takes a machine back."""
    in_two_minutes_ms = round(1000 * (time.time() + 120))
    preempted = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, reason = GcsClient(head.gcs_address).drain_node(worker.node_id, preempted, "spot", in_two_minutes_ms)
    assert accepted, reason


def rungs_in(checkpoint):
    metadata = read_metadata(checkpoint)
    return len(metadata["scores"]) if metadata else 0  # of a cell that has ended, too


def rungs_of(checkpoints, cell):
    return max(map(rungs_in, checkpoints.glob(f"{cell}-*.safetensors")), default=0)


class FewestRungs(Thread):
    """Watches checkpoints: the fewest rungs that any held, by cell. A trial that begins anew holds one."""

    def __init__(self, checkpoints, cells):
        super().__init__(daemon=True)
        self.seen = {cell: [rungs_of(checkpoints, cell)] for cell in cells}
        self._checkpoints, self._is_over = checkpoints, Event()

    def run(self):
        while not self._is_over.wait(0.05):
            for cell, seen in self.seen.items():
                if rungs := rungs_of(self._checkpoints, cell):
                    seen.append(rungs)

    def __exit__(self, *_):
        self._is_over.set()
        self.join()

    def __enter__(self):
        self.start()
        return self


def test_a_search_outlives_a_dead_node_and_a_drained_one_on_a_node_that_joins_it(tmp_path, one_thread):
    folder = tmp_path / "shared"
    with ExitStack() as nodes:
        head = nodes.enter_context(running_head(NO_TOKEN | FAST, cpus=0))
        dying, draining = workers = [nodes.enter_context(running_worker(head, NO_TOKEN)) for _ in range(2)]
        wait_for(lambda: {worker.node_id for worker in workers} == worker_ids(head))
        send(head, folder)
        checkpoints = folder / "sent" / "checkpoints"
        halted = {}

        def both_halted():
            for worker in workers:
                if worker not in halted and (trial := halted_on(worker, checkpoints)):
                    halted[worker] = trial
            return len(halted) == 2

        wait_for(both_halted)
        (moved, _), (drained, process) = halted[dying], halted[draining]
        with FewestRungs(checkpoints, (moved, drained)) as rungs:
            dying.signal(signal.SIGKILL)
            died_s = time.monotonic()
            drain(draining, head)
            os.kill(process, signal.SIGCONT)
            drained_s = time.monotonic()
            joining = nodes.enter_context(running_worker(head, NO_TOKEN))
            wait_for(lambda: drained not in trials_on(draining))
            print(f"a trial leaves a node that drains after {time.monotonic() - drained_s:.1f} s")
            wait_for(lambda: dying.node_id not in worker_ids(head))
            print(f"a node that died is given up after {time.monotonic() - died_s:.1f} s")
            elsewhere = set()
            wait_for(lambda: elsewhere.update(trials_on(joining)) or {moved, drained} & elsewhere)
            print(f"one of their trials runs on a node that joined after {time.monotonic() - died_s:.1f} s")
            wait_for(lambda: elsewhere.update(trials_on(joining)) or {moved, drained} <= elsewhere)
            submit(head, "logs=search")
        for seen in rungs.seen.values():
            assert seen == sorted(seen), "a trial began anew"
            assert seen[0] >= 2
            assert seen[-1] > seen[0]
    events, _ = read_events(folder / "sent" / "journal.jsonl")
    assert Counter(event.trial for event in events if isinstance(event, CellProposed)) == Counter(range(3))
    assert Counter((event.trial, event.status) for event in events if isinstance(event, TrialEnded)) == Counter(
        (trial, "completed") for trial in range(3)
    )
    assert set(Counter((event.trial, event.rung) for event in events if isinstance(event, RungReached)).values()) == {1}

    settings = read(load("search", [*SEARCH, f"output_dir={folder}"]))
    scoring = by_proxy(
        settings.deciding.proxy, settings.deciding.space, settings.images, settings.workplace, Console(quiet=True)
    )
    assert replay(events, settings.deciding.plan(scoring.features)).differences == ()
    undisturbed = {
        (event.trial, score.rung): score.miou
        for event in events
        if isinstance(event, CellProposed)
        for score in scoring.task(event.cell, event.seed, None)
    }
    assert {(event.trial, event.rung): event.miou for event in events if isinstance(event, RungReached)} == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("checks", [FAST, {}], ids=["fast", "default"])
def test_a_node_that_falls_silent_is_given_up_and_its_trial_runs_elsewhere(tmp_path, checks):
    with ExitStack() as nodes:
        head = nodes.enter_context(running_head(NO_TOKEN | checks, cpus=0))
        silent = nodes.enter_context(running_worker(head, NO_TOKEN))
        wait_for(lambda: worker_ids(head) == {silent.node_id})
        send(head, tmp_path)
        (cell,) = wait_for(lambda: trials_on(silent))
        other = nodes.enter_context(running_worker(head, NO_TOKEN))
        wait_for(lambda: other.node_id in worker_ids(head))
        silent.signal(signal.SIGSTOP)  # its connections stay open, as when a network is cut
        silent_s = time.monotonic()
        wait_for(lambda: silent.node_id not in worker_ids(head))
        print(f"a node that fell silent is given up after {time.monotonic() - silent_s:.1f} s")
        wait_for(lambda: cell in trials_on(other))
        print(f"its trial runs elsewhere after {time.monotonic() - silent_s:.1f} s")
