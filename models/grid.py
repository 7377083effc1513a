"""How the features' grid lies on an image: corners are aligned.

Images have 16k + 1 pixels a side, so that feature (i, j) lies on pixel (16i, 16j) whatever the padding of the convolutions.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def padded_px(size_px: int, output_stride: int) -> int:
    """The smallest multiple of ``output_stride`` plus one that is at least ``size_px``."""
    return (size_px + output_stride - 2) // output_stride * output_stride + 1


def num_features(size_px: int, output_stride: int) -> int:
    """Along a side of so many pixels, a multiple of ``output_stride`` plus one."""
    return (size_px - 1) // output_stride + 1


def resized(maps_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    """Maps resized bilinearly to ``size`` (height, width): the first and last pixel stay the first and last."""
    return F.interpolate(maps_BCHW, size=tuple(size), mode="bilinear", align_corners=True)
