"""What a journal tells of what somebody made in Python: two that do different things are told apart."""

from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import pytest

from search.session.described import described, described_settings


class Trainer:
    def __init__(self, rate, logger=None):
        self.rate, self.logger = rate, logger

    def score(self, cell, seed):
        yield self.rate


@dataclass
class Recipe:
    rate: float

    def score(self, cell, seed):
        yield self.rate


def trainer(rate):
    def score(cell, seed):
        yield rate

    return score


KINDS = {
    "an object": Trainer,
    "its method": lambda rate: Trainer(rate).score,
    "a dataclass": Recipe,
    "a dataclass's method": lambda rate: Recipe(rate).score,
    "a function within one": trainer,
    "a partial function": partial(partial, Recipe),
    "an object in a dataclass": lambda rate: Recipe(Trainer(rate)),
    "a number of NumPy's": np.int64,
    "a set": lambda rate: {1, rate},
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_holds_another_number_is_described_otherwise(make):
    assert described(make(2)) == described(make(2)) != described(make(3))


def test_what_an_object_holds_that_is_no_data_is_there_by_its_kind():
    assert described(Trainer(0.5, logger=Trainer(1)))["logger"] == {"kind": f"{__name__}.Trainer"}


def test_settings_that_could_not_be_told_from_others_are_refused():
    assert described_settings({"images": np.int64(3), "names": {"a"}}) == {"images": 3, "names": ["a"]}
    with pytest.raises(ValueError, match=r"^settings\.when: datetime\.date cannot be told from another"):
        described_settings({"when": [date(2026, 1, 1)]})
