"""Which samples and crops a step of a training draws: functions of the seed and the step's number, whichever process asks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.cache.feature_cache import FeatureCache
from training.features import Features, ResidentFeatures
from training.step import Batch

IntArray = npt.NDArray[np.int64]

_BLOCK = 4096
"""Corners that are drawn at once."""


@dataclass(frozen=True)
class Batches:
    """Functions of the seed and the iteration.

    Attributes:
        samples: numbers of the cached samples that are drawn from.
        side: of the random square that is cut out of each image, in features; None takes whole images.
    """

    cache: FeatureCache
    samples: IntArray
    size: int
    side: int | None
    seed: int

    def at(self, iteration: int, features: Features) -> Batch:
        """The batch of an iteration."""
        first = iteration * self.size
        samples = self._drawn(first, self.size).tolist()
        if self.side is None:
            return features.batch(samples)
        corners = corners_at(first, self.size, self._places(self.side), self.seed).tolist()
        return features.batch(samples, [(top, left, self.side) for top, left in corners])

    def planned(self, iterations: int, features: ResidentFeatures, device: torch.device) -> Callable[[Tensor], Batch]:
        """``at`` for an iteration that only the device knows, a tensor of shape (1,): all draws are put there beforehand."""
        count, side = iterations * self.size, self.side
        samples_IB = torch.from_numpy(self._drawn(0, count)).to(device).view(iterations, -1)
        if side is None:
            return lambda iteration_1: features.whole(samples_IB.index_select(0, iteration_1)[0])
        corners_N2 = torch.from_numpy(corners_at(0, count, self._places(side), self.seed)).to(device)
        corners_IB2 = corners_N2.view(iterations, -1, 2)
        return lambda iteration_1: features.cut(
            samples_IB.index_select(0, iteration_1)[0], corners_IB2.index_select(0, iteration_1)[0], side
        )

    def _drawn(self, first: int, count: int) -> IntArray:
        return self.samples[samples_at(first, count, len(self.samples), self.seed)]

    def _places(self, side: int) -> tuple[int, int]:
        return self.cache.height - side + 1, self.cache.width - side + 1


def sample_at(number: int, num_samples: int, seed: int) -> int:
    """The index of the ``number``-th sample of a training: each epoch is a permutation drawn from (seed, epoch)."""
    epoch, offset = divmod(number, num_samples)
    return int(_permutation(num_samples, seed, epoch)[offset])


def samples_at(first: int, count: int, num_samples: int, seed: int) -> IntArray:
    """``sample_at`` of ``count`` numbers from ``first`` on."""
    epochs = range(first // num_samples, (first + count - 1) // num_samples + 1)
    drawn = np.concatenate([_permutation(num_samples, seed, epoch) for epoch in epochs])
    return drawn[first - epochs.start * num_samples :][:count]


def corners_at(first: int, count: int, places: tuple[int, int], seed: int) -> IntArray:
    """Top and left of the crops of ``count`` samples from number ``first`` on, (count, 2).

    Args:
        places: where a crop can begin: 0 up to these rows and columns, not included.
    """
    blocks = range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)
    drawn = np.concatenate([_corners(places, seed, block) for block in blocks])
    return drawn[first - blocks.start * _BLOCK :][:count]


@lru_cache(maxsize=4)
def _permutation(num_samples: int, seed: int, epoch: int) -> IntArray:
    return np.random.default_rng([seed, epoch]).permutation(num_samples)


@lru_cache(maxsize=4)
def _corners(places: tuple[int, int], seed: int, block: int) -> IntArray:
    return np.random.default_rng([seed, block, 1]).integers(places, size=(_BLOCK, 2))
