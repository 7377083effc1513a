import os
import time

import pytest

from data.store import Store
from search.journal.events import SearchOpened
from search.journal.journal import Journal
from search.journal.remote.segments import StoredJournal


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


@pytest.fixture(scope="module")
def two_nodes():
    """A real Ray cluster of two nodes of one CPU, on this machine; this process has joined it."""
    import ray
    from ray.cluster_utils import Cluster

    from search.running.nodes.cluster import connect

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    connect(nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()
