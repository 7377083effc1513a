"""CPUs as a batch system or a container gives them."""

import os

import pytest

from data.system.cpus import available_cpus


def test_cpus_that_the_process_may_not_run_on_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5})
    assert available_cpus(tmp_path / "none") == 3


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("9000000 100000", 8)],
)
def test_a_containers_quota_bounds_them(tmp_path, monkeypatch, quota, cpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    (tmp_path / "cpu.max").write_text(quota)
    assert available_cpus(tmp_path / "cpu.max") == cpus
