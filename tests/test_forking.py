from tests.commands import FORKING
from tests.undrawn_ray import random_identity


def test_commands_that_are_forked_draw_identities_of_their_own():
    with FORKING.Pool(1, maxtasksperchild=1) as processes:
        first, second = (processes.apply(random_identity) for _ in range(2))
    assert first != second
