"""A frozen backbone fills a feature cache, in whichever process this is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.cache_build import CacheBuild, build_cache
from models.backbones import BackboneSettings, features_of
from training.allocator import keep_freed_memory


class FeatureExtractor:
    """Runs a frozen backbone: batch norm uses its running statistics, on the GPU where there is one."""

    def __init__(self, backbone: nn.Module, settings: BackboneSettings) -> None:
        keep_freed_memory()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._backbone = backbone.to(self._device).eval()
        self._mean_C11 = torch.tensor(settings.mean, device=self._device).view(3, 1, 1)
        self._std_C11 = torch.tensor(settings.std, device=self._device).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, images_BHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """Features (B, C, h, w) of RGB images."""
        images_BCHW = torch.from_numpy(images_BHWC).to(self._device).permute(0, 3, 1, 2).float() / 255
        features_BCHW = features_of(self._backbone, (images_BCHW - self._mean_C11) / self._std_C11)
        return features_BCHW.cpu().numpy()


@dataclass(frozen=True)
class Extraction:
    """A cache and the backbone that fills it. It can be sent to other processes, which may all ``fill`` it at once.

    Attributes:
        batch_size: images a forward pass; None for what suits the caches of the device, 8 on a GPU and 1 on a CPU.
    """

    build: CacheBuild
    backbone: nn.Module
    settings: BackboneSettings
    batch_size: int | None = None

    def fill(self, threads: int, progress: Callable[[int], None]) -> None:
        """``CacheBuild.fill``, in which up to ``threads`` threads load images."""
        self.build.fill(*self._arguments(threads), progress)

    def build_alone(self, threads: int, progress: Callable[[int, int], None]) -> Path:
        """``build_cache``, likewise."""
        return build_cache(self.build, *self._arguments(threads), progress)

    def _arguments(self, threads: int) -> tuple[FeatureExtractor, int, int]:
        """A GPU waits for many images at a time, a CPU has its own work to do."""
        has_gpu = torch.cuda.is_available()
        batch_size = self.batch_size or (8 if has_gpu else 1)
        return FeatureExtractor(self.backbone, self.settings), batch_size, threads if has_gpu else 1
