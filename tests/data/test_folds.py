"""Parting train into what is held out in turn."""

import numpy as np
import pytest

from data.folds import folds_digest, folds_of

GROUPS = ["a", "b", "a", "c", "c", "c", "b", "d"]


@pytest.mark.parametrize(("groups", "count"), [(GROUPS, 2), (GROUPS, 3), (GROUPS, 4), ([], 2), ([], 3), ([], 8)])
def test_every_sample_is_held_out_once_and_trained_on_otherwise(groups, count):
    folds = folds_of(8, groups, count)
    assert len(folds) == count
    assert sorted(np.concatenate([fold.val for fold in folds])) == list(range(8))
    for fold in folds:
        assert sorted([*fold.train, *fold.val]) == list(range(8))
        assert list(fold.train) == sorted(fold.train)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_fold_parts_a_group(count):
    for fold in folds_of(8, GROUPS, count):
        assert not {GROUPS[index] for index in fold.train} & {GROUPS[index] for index in fold.val}


def test_as_many_folds_as_groups_hold_out_each_of_them():
    assert [list(fold.val) for fold in folds_of(8, GROUPS, 4)] == [[3, 4, 5], [0, 2], [1, 6], [7]]


def test_fewer_folds_are_as_even_as_whole_groups_allow():
    assert [len(fold.val) for fold in folds_of(8, GROUPS, 2)] == [4, 4]


def test_samples_of_which_nothing_is_known_are_held_out_in_a_row():
    assert [list(fold.val) for fold in folds_of(7, [], 3)] == [[0, 1, 2], [3, 4], [5, 6]]


def test_the_digest_tells_other_folds_apart():
    digests = {folds_digest(folds_of(8, groups, count)) for groups in (GROUPS, []) for count in (2, 3)}
    assert len(digests) == 4
    assert folds_digest(folds_of(8, GROUPS, 2)) in digests


@pytest.mark.parametrize(
    ("groups", "count", "says"),
    [
        (GROUPS, 5, "train has 4 groups of images that belong together (a, b, c, d), .* at most 4 folds; got 5"),
        ([], 9, "8 samples of train cannot be split into 9 folds"),
        (GROUPS, 1, "dataset.folds must be at least 2, or null"),
        ([], 0, "dataset.folds must be at least 2, or null"),
    ],
)
def test_folds_that_cannot_be_are_refused(groups, count, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(").replace(")", r"\)")):
        folds_of(8, groups, count)
