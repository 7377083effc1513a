"""A split's cached features, where the device that trains on them reads them fastest."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from data.feature_cache import FeatureCache, Window
from training.loop import Batch

RESIDENT_SHARE = 0.5
"""Of the device's free memory: the most that features may keep."""


class Features(Protocol):
    """Gives batches of a cache."""

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        """Features (B, C, h, w) float32 and labels (B, H, W) uint8 on the device, in the order of ``indices``.

        Args:
            windows: what to cut out of each, all of one side; None takes all of it.
        """
        ...


def features_on(cache: FeatureCache, device: torch.device) -> Features:
    """The fastest way to ``device``: mapped for a CPU, resident on a GPU that has room, else streamed to it."""
    if device.type == "cpu":
        return MappedFeatures(cache)
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return ResidentFeatures(cache, device) if cache.bytes <= RESIDENT_SHARE * free_bytes else StreamedFeatures(cache, device)


class MappedFeatures:
    """Read from the mapped files, which all trials of a machine share."""

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        features_BCHW, labels_BHW = map(torch.from_numpy, self._cache.batch(indices, windows))
        return features_BCHW.float(), labels_BHW


class ResidentFeatures:
    """Copied to the device once."""

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._cache = cache
        features, labels = (torch.from_numpy(part) for part in cache.batch([0]))
        self._features_NCHW = torch.empty((len(cache), *features.shape[1:]), dtype=features.dtype, device=device)
        self._labels_NHW = torch.empty((len(cache), *labels.shape[1:]), dtype=labels.dtype, device=device)
        for index in range(len(cache)):
            features, labels = (torch.from_numpy(part) for part in cache.batch([index]))
            self._features_NCHW[index].copy_(features[0])
            self._labels_NHW[index].copy_(labels[0])

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        if windows is None:
            rows = torch.tensor(indices, device=self._features_NCHW.device)
            return self._features_NCHW[rows].float(), self._labels_NHW[rows]
        cut = [(index, *window) for index, window in zip(indices, windows, strict=True)]
        features = [self._features_NCHW[n, :, top : top + side, left : left + side] for n, top, left, side in cut]
        labels = [self._labels_NHW[(n, *self._cache.label_window(top, left, side))] for n, top, left, side in cut]
        return torch.stack(features).float(), torch.stack(labels)


class StreamedFeatures:
    """Read from the mapped files and sent in half precision through page-locked memory."""

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._cache, self._device = cache, device

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        features_BCHW, labels_BHW = (self._sent(torch.from_numpy(part)) for part in self._cache.batch(indices, windows))
        return features_BCHW.float(), labels_BHW

    def _sent(self, tensor: Tensor) -> Tensor:
        """PyTorch keeps a page-locked block until the copies out of it are done, and hands it out again afterwards."""
        return (tensor.pin_memory() if self._device.type == "cuda" else tensor).to(self._device, non_blocking=True)
