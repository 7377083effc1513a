"""From a data set and a backbone to a feature cache."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.datasets import SegmentationDataset
from data.feature_cache import CacheKey, build_cache
from models.backbones import BackboneSettings, features_of, weights_digest
from models.segmenter import padded_px


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How features are cached.

    Attributes:
        folder: where caches lie; each has a folder of its own there.
        dtype: of the stored features.
        height_px: images are padded to this height; None for the first image's, rounded up to the features' grid.
        width_px: likewise.
        batch_size: images a forward pass; it changes no value.
    """

    folder: str
    dtype: Literal["float16", "float32"] = "float16"
    height_px: int | None = None
    width_px: int | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"cache.dtype must be 'float16' or 'float32', got {self.dtype!r}.")
        if self.batch_size < 1:
            raise ValueError(f"cache.batch_size must be at least 1, got {self.batch_size}.")


def cache_features(
    dataset: SegmentationDataset,
    split_name: str,
    backbone: nn.Module,
    backbone_settings: BackboneSettings,
    settings: CacheSettings,
    progress: Callable[[int, int], None],
) -> Path:
    """The folder of a split's finished cache, which is built if it is not there.

    Args:
        progress: told the images done and in all while building.

    Raises:
        DatasetError: a sample cannot be read.
        ValueError: an image is larger than the padded size.
        OSError: the disk is full or not writable.
    """
    split = dataset.split(split_name)
    height_px, width_px = _padded_size(split[0].labels_HW.shape, backbone_settings.output_stride, settings)
    key = CacheKey(
        dataset={"name": dataset.info.name, "split": split_name, "content": split.fingerprint()},
        backbone={
            **asdict(backbone_settings),
            "mean": list(backbone_settings.mean),
            "std": list(backbone_settings.std),
            "weights": weights_digest(backbone),
        },
        height_px=height_px,
        width_px=width_px,
        dtype=settings.dtype,
    )
    return build_cache(
        Path(settings.folder),
        key,
        split,
        dataset.info,
        FeatureExtractor(backbone, backbone_settings),
        settings.batch_size,
        progress=progress,
    )


class FeatureExtractor:
    """Runs a frozen backbone: batch norm uses its running statistics, on the GPU where there is one."""

    def __init__(self, backbone: nn.Module, settings: BackboneSettings) -> None:
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


def _padded_size(size_px: Sequence[int], output_stride: int, settings: CacheSettings) -> tuple[int, int]:
    height_px, width_px = settings.height_px or size_px[0], settings.width_px or size_px[1]
    return padded_px(height_px, output_stride), padded_px(width_px, output_stride)
