"""A split's cached features, where the device that trains on them reads them fastest."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from data.cache.feature_cache import FeatureCache, Window
from training.step import Batch

RESIDENT_SHARE = 0.5
"""Of the device's free memory: the most that features may keep."""


class Features(Protocol):
    """Gives batches of a cache."""

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        """Features (B, C, h, w) float16 and labels (B, H, W) uint8 on the device, in the order of ``indices``.

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
        return features_BCHW, labels_BHW


class ResidentFeatures:
    """Copied to the device once, channels last."""

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._label_step = cache.label_step
        features_BCHW, labels_BHW = map(torch.from_numpy, cache.batch([0]))
        (channels, height, width), count = features_BCHW.shape[1:], len(cache)
        self._features_NHWC = torch.empty((count, height, width, channels), dtype=features_BCHW.dtype, device=device)
        self._labels_NHW = torch.empty((count, *labels_BHW.shape[1:]), dtype=labels_BHW.dtype, device=device)
        for index in range(count):
            features_BCHW, labels_BHW = map(torch.from_numpy, cache.batch([index]))
            self._features_NHWC[index].copy_(features_BCHW[0].to(device).permute(1, 2, 0))  # the device transposes
            self._labels_NHW[index].copy_(labels_BHW[0])

    @property
    def device(self) -> torch.device:
        return self._labels_NHW.device

    @property
    def parts(self) -> tuple[Tensor, Tensor, int]:
        """Features (N, h, w, C), labels (N, H, W), and how many of these lie from one feature to the next."""
        return self._features_NHWC, self._labels_NHW, self._label_step

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        device = self.device
        samples_B = torch.tensor(indices, device=device)
        if windows is None:
            return self.whole(samples_B)
        return self.cut(samples_B, torch.tensor([window[:2] for window in windows], device=device), windows[0][2])

    def whole(self, samples_B: Tensor) -> Batch:
        """All of some samples, whose numbers the device holds."""
        return self._features_NHWC[samples_B].permute(0, 3, 1, 2), self._labels_NHW[samples_B]

    def cut(self, samples_B: Tensor, corners_B2: Tensor, side: int) -> Batch:
        """Squares of ``side`` features, with top and left as the device holds them, and the labels over them."""
        features_BHWC = _squares(self._features_NHWC, samples_B, corners_B2, side)
        label_side = self._label_step * (side - 1) + 1
        return features_BHWC.permute(0, 3, 1, 2), _squares(
            self._labels_NHW, samples_B, self._label_step * corners_B2, label_side
        )


class StreamedFeatures:
    """Read from the mapped files and sent in half precision through page-locked memory."""

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._cache, self._device = cache, device

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        features_BCHW, labels_BHW = (self._sent(torch.from_numpy(part)) for part in self._cache.batch(indices, windows))
        return features_BCHW, labels_BHW

    def _sent(self, tensor: Tensor) -> Tensor:
        """PyTorch keeps a page-locked block until the copies out of it are done, and hands it out again afterwards."""
        return (tensor.pin_memory() if self._device.type == "cuda" else tensor).to(self._device, non_blocking=True)


def _squares(maps_NHW_: Tensor, samples_B: Tensor, corners_B2: Tensor, side: int) -> Tensor:
    """(B, side, side, ...) out of (N, H, W, ...).

    Windows are a view, out of which one number an axis and sample picks: no index for each pixel.
    """
    windows_NYX_SS = maps_NHW_.unfold(1, side, 1).unfold(2, side, 1)
    windows_NYXSS_ = windows_NYX_SS.movedim((-2, -1), (3, 4))
    return windows_NYXSS_[samples_B, corners_B2[:, 0], corners_B2[:, 1]]
