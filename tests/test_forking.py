"""What is forked in tests is as good as what is started: tests/commands.py, tests/ray_workers.py."""

import pytest
import ray

from tests.commands import FORKING
from tests.undrawn_ray import random_identity


def test_commands_that_are_forked_draw_identities_of_their_own():
    with FORKING.Pool(1, maxtasksperchild=1) as processes:
        first, second = (processes.apply(random_identity) for _ in range(2))
    assert first != second


@pytest.fixture
def one_node():
    ray.init(address="local", num_cpus=2, include_dashboard=False)
    yield
    ray.shutdown()


def test_workers_that_are_forked_draw_identities_of_their_own(one_node):
    drawing = [ray.remote(num_cpus=1, max_calls=1)(random_identity).remote() for _ in range(2)]
    first, second = ray.get(drawing, timeout=60)
    assert first != second
