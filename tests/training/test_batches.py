import numpy as np
import pytest

from training.batches import corners_at, sample_at, samples_at


@pytest.mark.parametrize("num_samples", [1, 7, 32])
def test_each_epoch_is_a_permutation_of_its_own(num_samples):
    epochs = [[sample_at(epoch * num_samples + i, num_samples, seed=3) for i in range(num_samples)] for epoch in range(6)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(num_samples))
    if num_samples > 1:
        assert len({tuple(epoch) for epoch in epochs}) > 3


def test_the_order_is_a_function_of_the_seed_whatever_was_asked_before():
    forwards = [sample_at(number, 10, seed=1) for number in range(100)]
    backwards = [sample_at(number, 10, seed=1) for number in reversed(range(100))]
    assert forwards == backwards[::-1]
    assert forwards != [sample_at(number, 10, seed=2) for number in range(100)]


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 7), (3, 30), (7, 7), (6, 2), (20, 1)])
def test_many_samples_at_once_are_the_same_as_one_by_one(first, count):
    assert samples_at(first, count, 7, seed=3).tolist() == [sample_at(first + i, 7, seed=3) for i in range(count)]


@pytest.mark.parametrize(("first", "count"), [(0, 3), (4090, 12), (4096, 1), (8000, 5000)])
def test_a_corner_depends_on_its_number_alone(first, count):
    all_of_them = corners_at(0, 14_000, (5, 9), seed=1)
    assert np.array_equal(corners_at(first, count, (5, 9), seed=1), all_of_them[first : first + count])
    assert not np.array_equal(all_of_them, corners_at(0, 14_000, (5, 9), seed=2))


def test_corners_lie_anywhere_within_their_places():
    corners = corners_at(0, 3000, (3, 2), seed=0)
    assert {tuple(corner) for corner in corners.tolist()} == {(row, column) for row in range(3) for column in range(2)}
