"""A tiny encoder that is blind beyond 31 pixels."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


class LocalEncoder(nn.Module):
    """Four 3x3 convolutions of stride 2, untrained: random features of a 31-pixel neighbourhood at output stride 16.

    It is the backbone of the embedded data set ``shapes``, needs no download, and is weak on purpose: a feature covers
    about two strides, so whatever a prediction knows of the scene beyond that, the cell on top has found. On images of
    16k + 1 pixels feature (i, j) is centred on pixel (16i, 16j). It can be trained end to end like any other encoder.

    It has the habits of segmentation-models-pytorch: ``forward`` gives the input and one map a stage.

    Attributes:
        out_channels: of what ``forward`` returns, the input first.
    """

    output_stride = 16

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.out_channels = [3, 16, 32, 64, 96]
        generator = torch.Generator().manual_seed(seed)
        self.stages = nn.ModuleList(_conv(*channels, generator) for channels in pairwise(self.out_channels))

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Images of about zero mean and unit scale to features of about unit scale, at strides 1, 2, 4, 8 and 16."""
        features = [images_BCHW]
        for stage in self.stages:
            features.append(stage(features[-1]).relu())
        return features


def _conv(in_channels: int, out_channels: int, generator: torch.Generator) -> nn.Conv2d:
    """He et al. 2015: a variance of 2 / fan-in keeps the scale of what passes through ReLUs."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (9 * in_channels)), generator=generator)
    return conv
