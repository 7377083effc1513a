from data.system.backoff import Backoff


def test_each_wait_is_twice_the_one_before_up_to_the_longest_until_it_works():
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert [backoff.next_s() for _ in range(2)] == [1, 2]
