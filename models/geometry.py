"""Where an encoder's features lie on its images."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from models.grid import num_features

HEIGHT_PX, WIDTH_PX = 65, 97
"""Of the image that is tried: one more than a multiple of every output stride, as all images are padded to."""
TOLERANCE = 0.05
"""Of what features differ by at all: a shift by half a pixel gives 1, attention over reduced maps 0.02, rounding 1e-5."""
ROUNDING = 1e-5
"""Of the features themselves: random weights may give the same ones everywhere."""


def misplaced(encoder: nn.Module, output_stride: int) -> str:
    """Why feature (i, j) of the last map does not lie on pixel (i, j) x ``output_stride``; empty where it does.

    An image and its features are turned by 180 degrees in either order, with kernels that are symmetric. Both agree where the
    features lie symmetrically on the image, which for as many as there must be is on these pixels alone. Of weights that have
    no values (on the device ``meta``) the map's size is compared alone.
    """
    expected = tuple(num_features(size, output_stride) for size in (HEIGHT_PX, WIDTH_PX))
    symmetric = _with_symmetric_kernels(encoder)
    device = next(encoder.parameters()).device
    images_BCHW = torch.rand(1, 3, HEIGHT_PX, WIDTH_PX, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        features_BCHW = symmetric(images_BCHW)[-1]
        if tuple(features_BCHW.shape[-2:]) != expected:
            found = "x".join(map(str, features_BCHW.shape[-2:]))
            return f"an image of {HEIGHT_PX}x{WIDTH_PX} pixels gives {found} features, not {expected[0]}x{expected[1]}"
        if features_BCHW.is_meta:
            return ""
        turned_BCHW = _turned(features_BCHW)
        shift = (symmetric(_turned(images_BCHW))[-1] - turned_BCHW).norm()
        allowed = TOLERANCE * (features_BCHW - turned_BCHW).norm() + ROUNDING * features_BCHW.norm()
    return "" if shift <= allowed else f"its features are not centred on every {output_stride}th pixel"


def _turned(maps_BCHW: Tensor) -> Tensor:
    return maps_BCHW.flip(-1, -2)


@torch.no_grad()
def _with_symmetric_kernels(encoder: nn.Module) -> nn.Module:
    copy = deepcopy(encoder).eval()
    for module in copy.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_((module.weight + _turned(module.weight)) / 2)
    return copy
