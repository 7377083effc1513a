"""How Ray is started on this machine, and how a cluster is joined."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
import ray
from ray.exceptions import AuthenticationError

import dpc
from data.system.errors import UserError
from search.running.nodes import cluster
from search.running.nodes.address import check_address, names_cluster

MOST = 107
"""Characters of a socket's path on Linux."""


@pytest.mark.parametrize("length", [4, 30, 31, 90])
def test_ray_starts_whatever_the_length_of_the_folder_for_temporary_files(monkeypatch, length):
    folder, given = "/" + (length - 1) * "t", {}
    monkeypatch.setattr(tempfile, "tempdir", folder)
    monkeypatch.setattr(ray, "init", lambda **settings: given.update(settings))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster.connect(None)
    of_ray = given["_temp_dir"] or f"{folder}/ray"
    assert of_ray.startswith(folder) == (length <= 30)
    longest = f"{of_ray}/session_2026-11-28_08-00-00_000000_{2**22}/sockets/plasma_store"
    assert len(longest) <= MOST
    assert str(os.getuid()) in of_ray or length <= 30


def test_workers_look_for_modules_in_this_projects_folder_first_whatever_lies_in_the_users(monkeypatch, tmp_path):
    """Ray puts the folder that the driver is in before all others."""
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", lambda **settings: seen.append(Path.cwd()))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster.connect(None)
    assert (seen, Path.cwd()) == ([dpc.ROOT], tmp_path)


@pytest.mark.parametrize(
    "why", [AuthenticationError("Token is missing"), RuntimeError("Version mismatch:\n Ray: 2.55")], ids=repr
)
def test_a_cluster_that_does_not_take_this_process_is_said_in_one_line(monkeypatch, why):
    def init(**settings):
        raise why

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(cluster, "_check_answers", lambda address: None)
    with pytest.raises(
        ConnectionError, match=r"^ray\.address: the cluster at 10\.0\.0\.1:6379 does not .*: (Token|Version)"
    ) as caught:
        cluster.connect("10.0.0.1:6379")
    assert "\n" not in str(caught.value)


def test_a_head_is_found_by_its_ipv6_address(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "create_connection", lambda place, timeout: asked.append(place) or socket.socket())
    cluster._check_answers(check_address("[fd00::1]:6379"))
    assert asked == [("fd00::1", 6379)]


def test_a_variable_that_holds_no_address_of_a_head_is_named_unless_a_setting_says_another(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(UserError, match=r"^RAY_ADDRESS: 'http://127\.0\.0\.1:8265' is not a Ray address"):
        names_cluster(None)
    assert names_cluster("10.0.0.1:6379")
    assert not names_cluster("local")


def test_the_address_of_rays_client_is_refused():
    with pytest.raises(UserError, match="is for Ray's client, .*`dpc submit`"):
        check_address("ray://10.0.0.1:10001")
