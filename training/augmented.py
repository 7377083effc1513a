"""Augmented training samples, loaded in any order by any process."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.datasets import Split
from data.transforms import Augmentation, normalize
from models.backbones import BackboneSettings
from training.sampling import sample_at


class AugmentedSamples(Dataset[tuple[Tensor, Tensor]]):
    """The training samples in the order of their use: sample n is a function of (seed, n), whoever loads it."""

    def __init__(self, split: Split, augmentation: Augmentation, backbone: BackboneSettings, seed: int) -> None:
        self._split, self._augmentation, self._backbone, self._seed = split, augmentation, backbone, seed

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        sample = self._split[sample_at(number, len(self._split), self._seed)]
        augmented = self._augmentation(sample, seed=(self._seed * 1_000_003 + number) % 2**32)
        image_CHW = normalize(augmented.image_HWC, self._backbone.mean, self._backbone.std)
        return torch.from_numpy(image_CHW), torch.from_numpy(augmented.labels_HW)
