"""How Ray is started on this machine."""

import os
import tempfile
from pathlib import Path

import pytest
import ray

import dpc
from search.running.nodes import cluster

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
