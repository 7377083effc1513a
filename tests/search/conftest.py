import os
import time
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

from data.store import Store
from search.deciding.outcomes import Status
from search.journal.events import SearchOpened
from search.journal.journal import Journal
from search.journal.remote.segments import StoredJournal
from training.score import DivergedError


@pytest.fixture
def opened():
    """The first event of a search."""
    return SearchOpened("stored", {}, {}, 1000.0)


@pytest.fixture
def place(tmp_path):
    """A search's place in a store, which is a folder here."""
    return Store(f"file://{tmp_path}/store") / "search"


@pytest.fixture
def restored():
    """Gives the bytes of a new local journal that is restored from a place in a store."""

    def read(place, path):
        with Journal(path) as journal:
            StoredJournal(place, path).restore(journal)
        return path.read_bytes()

    return read


@pytest.fixture
def wait_until():
    """Waits for something to become true, and fails after a time in which it should have."""

    def wait(is_true, timeout_s=60.0):
        deadline_s = time.monotonic() + timeout_s
        while not is_true() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert is_true()

    return wait


@pytest.fixture
def without_ray(monkeypatch):
    """Searches score their cells in this process, one after the other, draw no pictures and tell MLflow nothing."""
    monkeypatch.setattr("search.session.session.run_study", _run_here)
    monkeypatch.setattr("search.session.session.join", lambda workplace: None)
    monkeypatch.setattr("search.session.session.slots", lambda resources: 1)
    monkeypatch.setattr("search.session.session.follow", lambda *_: nullcontext(SimpleNamespace(link="")))
    monkeypatch.setattr("search.commands.rerank.attach", lambda *_: None)
    monkeypatch.setattr("search.session.results.write_results", lambda record, settings: None)
    monkeypatch.setattr("search.session.library.write_results", lambda record, settings: None)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages have the words of their figures and not the figures, which take most of a page's time."""
    leave_figures_out(monkeypatch)


def leave_figures_out(patched):
    from search.views.report.page import Picture

    patched.setattr("search.session.report._picture", lambda drawing, rows: Picture(drawing.title, [], drawing.reading))


def _run_here(study, task, **_):
    while (proposed := study.propose()) is not None:
        try:
            for score in task(proposed.cell, proposed.seed, None):
                if not study.reached(proposed.trial, score):
                    break
        except DivergedError as error:
            study.failed(proposed.trial, Status.DIVERGED, str(error))
        except Exception as error:
            study.failed(proposed.trial, Status.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")
    study.close()


@pytest.fixture(scope="session")
def ray_cluster():
    """Starts a real Ray cluster on this machine, a head to which nodes are added: `with ray_cluster(num_cpus=1) as nodes`."""
    return _running_cluster


@contextmanager
def _running_cluster(**of_head):
    import ray
    from ray.cluster_utils import Cluster

    from search.running.ray_internals import without_servers

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with without_servers():
        nodes = Cluster(initialize_head=True, head_node_args={**of_head, "include_dashboard": False})
        yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def two_nodes(ray_cluster):
    """A real Ray cluster of two nodes of one CPU; this process has joined it."""
    from search.running.nodes.cluster import connect

    with ray_cluster(num_cpus=1) as nodes:
        nodes.add_node(num_cpus=1)
        connect(nodes.address)
        yield nodes
