from tests.lives.life import live
from tests.lives.shrink import shrunk, told

SEEDS = 300


def test_three_hundred_lives_keep_every_promise():
    broken = next((lived for lived in map(live, range(SEEDS)) if lived.broken), None)
    assert broken is None, told(shrunk(broken))


def test_a_life_goes_the_same_way_each_time():
    first, again = live(11), live(11)
    assert (first.said, first.steps, first.met) == (again.said, again.steps, again.met)
    assert first.met
