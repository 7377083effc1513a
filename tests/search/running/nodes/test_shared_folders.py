"""What nodes must share, checked on a real Ray cluster: one of its nodes may see other mounts than this process."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial

import pytest
import ray
from ray import cloudpickle

from search.running.nodes.every_node import on_every_node, this_node
from search.running.nodes.shared_folders import SharedFolderError, SharedPath, check_shared
from search.running.task import PreparedTask

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@contextmanager
def node_with(cluster, mount):
    """A further node, which sees what the shell command ``mount`` mounts; nobody else does."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "sh", "-ec", mount], check=False).returncode != 0:
        pytest.skip("a node with mounts of its own needs root and `unshare -m`")
    before = len(alive())
    start = (
        f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=1 --disable-usage-stats --block"
    )
    process = subprocess.Popen(
        ["unshare", "-m", "--kill-child", "--pid", "--fork", "--mount-proc", "sh", "-ec", f"{mount}; exec {start}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: len(alive()) == before + 1)
        yield
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: len(alive()) == before)


def alive():
    return [node for node in ray.nodes() if node["Alive"]]


def wait_until(is_true):
    deadline_s = time.monotonic() + 300
    while not is_true() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert is_true()


def written(path):
    return [SharedPath("output_dir", path)]


def assert_no_probe(*folders):
    for folder in folders:
        assert not [path for path in folder.rglob("*") if "probe" in path.name]


def test_a_function_runs_on_every_node_and_what_it_raises_is_raised_here(two_nodes):
    ids = {node_id for _, node_id in on_every_node(lambda: ray.get_runtime_context().get_node_id())}
    assert ids == {node["NodeID"] for node in alive()}
    with pytest.raises(ZeroDivisionError):
        on_every_node(lambda: 1 // 0)


def test_folders_and_files_that_all_nodes_share_pass_and_no_probe_remains(two_nodes, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train").mkdir()
    (data / "weights").write_bytes(b"1234")
    folders = [SharedPath(name, tmp_path / "new" / name) for name in ("output_dir", "cache.folder")]
    check_shared(folders, [SharedPath.seen("dataset.root", data), SharedPath.seen("backbone.weights", data / "weights")])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cache.folder", "output_dir"]
    assert_no_probe(tmp_path)


MOUNTS = {
    "cannot see": "mount -t tmpfs tmpfs {parent}",
    "sees another folder of the name": "mount -t tmpfs tmpfs {folder}",
    "cannot write to": "mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}",
    "can take a file lock that the driver holds in": (
        "mount -t tmpfs tmpfs {upper} && mkdir {upper}/changes {upper}/work && "
        "mount -t overlay overlay -o lowerdir={folder},upperdir={upper}/changes,workdir={upper}/work {folder}"
    ),
}


@pytest.fixture(scope="module")
def odd_node(two_nodes, tmp_path_factory):
    """A node with all of these troubles, each with a folder of its own, and without some data: where these are."""
    place = tmp_path_factory.mktemp("odd")
    folders = {trouble: place / str(number) / "shared" / "outputs" for number, trouble in enumerate(MOUNTS)}
    (place / "data" / "train" / "images").mkdir(parents=True)
    for number in range(200):
        (place / "data" / "train" / "images" / f"{number}.png").touch()
    mounts = [f"mount -t tmpfs tmpfs {place}/data/train/images"]
    for trouble, folder in folders.items():
        upper = folder.parents[1] / "upper"
        folder.mkdir(parents=True)
        upper.mkdir()
        mounts.append(MOUNTS[trouble].format(folder=folder, parent=folder.parent, upper=upper))
    data = SharedPath.seen("dataset.root", place / "data")
    with node_with(two_nodes, " && ".join(mounts)):
        yield folders, data
    for folder in folders.values():
        check_shared(written(folder), [data])


@pytest.mark.parametrize("trouble", MOUNTS)
def test_a_node_that_does_not_share_a_folder_is_named_with_what_it_cannot_do(odd_node, trouble):
    folder = odd_node[0][trouble]
    with pytest.raises(SharedFolderError, match=rf"^output_dir: node \S+ \(\S+\) {trouble} {folder}") as caught:
        check_shared(written(folder), [])
    assert "\n" not in str(caught.value)
    assert "every node must share it" in str(caught.value)
    assert_no_probe(folder)
    assert {number for _, number in on_every_node(partial(probes_in, folder))} == {0}


def probes_in(folder):
    return len(list(folder.glob(".probe*")))


def test_a_node_that_misses_data_that_is_only_read_is_named(odd_node, tmp_path):
    _, data = odd_node
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"1234")
    seen = SharedPath.seen("backbone.weights", weights)
    with pytest.raises(SharedFolderError, match=f"dataset.root: node .* lacks train/images/0.png of {data.path};"):
        check_shared([], [data, seen])
    weights.write_bytes(b"4321")
    with pytest.raises(SharedFolderError, match=f"backbone.weights: node .* sees another file of the name {weights};"):
        check_shared([], [seen])


def test_a_folder_that_this_process_cannot_write_is_said_of_it(two_nodes, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SharedFolderError, match="output_dir: node .* cannot write to .*file .File exists."):
        check_shared(written(tmp_path / "file"), [])


def test_a_trial_on_a_node_that_joined_later_says_the_same_and_lets_another_try(tmp_path):
    def score(cell, seed, checkpoint):
        yield cell, seed

    task = PreparedTask(score, [SharedPath("output_dir", tmp_path / "outputs").check])
    with pytest.raises(OSError, match=f"^output_dir: {re.escape(this_node())} cannot see {tmp_path}/outputs; every node must"):
        next(task("a cell", 7))
    (tmp_path / "outputs").mkdir()
    assert list(task("a cell", 7)) == [("a cell", 7)]
