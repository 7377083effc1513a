"""The batches of a proxy trial: which cached images a step takes, and which part of each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.feature_cache import FeatureCache
from training.features import Features, ResidentFeatures
from training.sampling import IntArray, corners_at, samples_at
from training.step import Batch


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
