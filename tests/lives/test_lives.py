import importlib
import inspect

import pytest

from tests.lives.life import live
from tests.lives.sabotage import SABOTAGES, sabotaged
from tests.lives.shrink import shrunk, told

SEEDS = 300


def test_three_hundred_lives_keep_every_promise():
    broken = next((lived for lived in map(live, range(SEEDS)) if lived.broken), None)
    assert broken is None, told(shrunk(broken))


def test_a_life_goes_the_same_way_each_time():
    first, again = live(11), live(11)
    assert (first.said, first.steps, first.met) == (again.said, again.steps, again.met)
    assert first.met


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.what)
def test_what_is_sabotaged_is_there(sabotage):
    assert inspect.getsource(importlib.import_module(sabotage.module)).count(sabotage.old) == 1


def test_a_sabotage_is_noticed_and_its_life_is_shrunk_to_the_faults_that_it_needs():
    half = next(sabotage for sabotage in SABOTAGES if sabotage.what == "half a line stays")
    with sabotaged(half):
        lived = next(lived for lived in map(live, range(100)) if lived.broken)
        few = shrunk(lived)
    assert few.broken
    assert 1 <= len(few.met) <= len(lived.met)
    assert f"python -m tests.lives --seed {few.seed}" in told(few)
    assert not live(few.seed, few.met).broken
