import os

import pytest


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
