"""What each step of a training draws: functions of the seed and of sample numbers, whoever asks and in whatever order."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

_BLOCK = 4096
"""Corners that are drawn at once."""


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
