"""A search on a cluster that starts its own nodes: Ray's autoscaler, with the provider that Ray tests it with.

`ray.cluster_utils.AutoscalingCluster` would end all Ray of this machine, and its defaults are missing from Ray's wheel.
"""

import json
import os
import time

import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)

from search.journal.lines import read_events
from search.journal.record import SearchRecord
from tests.commands import started

from .conftest import free_ports, running_head, worker_ids

V2 = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE,
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
TINY = (
    "name=grown",
    "dataset.num_train=12",
    "dataset.num_val=4",
    "space.num_branches=2",
    "cache.workers=1",
    "proxy.rungs=[2,4]",
    "proxy.batch_size=2",
    "proxy.cell.filters=8",
    "scheduler=none",
    "trials=4",
)


@pytest.fixture(scope="module")
def growing_head(tmp_path_factory):
    """A head for the driver alone, and up to three workers of one CPU that are not there yet."""
    (gcs,) = free_ports(1)
    provider = f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}"
    config = {
        "cluster_name": "growing",
        "max_workers": 3,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "external",
            "module": provider,
            "gcs_address": f"127.0.0.1:{gcs}",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 3},
        },
    }
    config |= {f"{what}_commands": [] for what in ("setup", "initialization")}
    config |= {f"{node}_{what}_commands": [] for node in ("head", "worker") for what in ("setup", "start_ray")}
    config |= {"auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [], "file_mounts_sync_continuously": False}
    path = tmp_path_factory.mktemp("autoscaler") / "config.json"
    path.write_text(json.dumps(config))
    with running_head(V2, f"--autoscaling-config={path}", cpus=0, gcs=gcs) as head:
        yield head


def search(head, *overrides):
    """On the head's machine, not submitted: its workers here would replace the job's folder, which they share."""
    given = ["search", f"ray.address={head.gcs_address}", *overrides]
    with started(*given, variables=os.environ | {"RAY_AUTH_MODE": "disabled"}) as command:
        output, errors = command.communicate()
    return command.returncode, output, errors


def test_a_search_starts_the_nodes_it_needs_from_none_and_they_go_when_it_ends(growing_head, tmp_path):
    assert worker_ids(growing_head, "ALIVE") == set()
    code, output, errors = search(growing_head, *TINY, f"output_dir={tmp_path}")
    assert code == 0, output + errors
    record = SearchRecord(read_events(tmp_path / "grown" / "journal.jsonl")[0])
    assert [trial.status for trial in record.finished] == ["completed"] * 4
    assert len(worker_ids(growing_head, "ALIVE") | worker_ids(growing_head, "DEAD")) >= 3
    ended_s = time.monotonic()
    while worker_ids(growing_head, "ALIVE"):
        assert time.monotonic() < ended_s + 200, "idle workers stay"
        time.sleep(0.2)


def test_a_trial_that_no_node_type_holds_is_refused_in_one_line(growing_head, tmp_path):
    code, _, errors = search(growing_head, *TINY, f"output_dir={tmp_path}", "resources.gpu=1")
    assert code == 2
    assert "resources: a trial asks for CPU 1, GPU 1, and no node type of the autoscaler has that" in errors
    assert "Traceback" not in errors
