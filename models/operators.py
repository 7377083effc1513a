"""Operators as torch modules: ``build_operator`` turns what a branch says into what it computes."""

from functools import singledispatch

import torch.nn.functional as F
from torch import Tensor, nn

from models.depthwise import AtrousDepthwise
from models.fused import FusedSequential
from models.grid_products import means_by_products, resized_by_products
from models.settings import CellSettings
from models.spec import AtrousConv, Conv1x1, Operator, PyramidPooling


@singledispatch
def build_operator(operator: Operator, in_channels: int, settings: CellSettings) -> nn.Module:
    """The module that computes ``operator``: (B, in_channels, H, W) to (B, settings.filters, H, W).

    Raises:
        TypeError: nothing is registered for this kind of operator.
    """
    raise TypeError(f"no module for {type(operator).__name__}: register one with models.operators.build_operator.register")


@build_operator.register
def _(operator: Conv1x1, in_channels: int, settings: CellSettings) -> nn.Module:
    return FusedSequential(*_conv_bn_relu(in_channels, settings.filters, settings))


@build_operator.register
def _(operator: AtrousConv, in_channels: int, settings: CellSettings) -> nn.Module:
    rate_h, rate_w = (rate * settings.rate_multiplier for rate in operator.rate)
    return FusedSequential(
        AtrousDepthwise(in_channels, (rate_h, rate_w)),
        nn.BatchNorm2d(in_channels, momentum=settings.bn_momentum),
        nn.ReLU(inplace=True),
        *_conv_bn_relu(in_channels, settings.filters, settings),
    )


@build_operator.register
def _(operator: PyramidPooling, in_channels: int, settings: CellSettings) -> nn.Module:
    return GridPooling(operator.grid, in_channels, settings)


class GridPooling(nn.Module):
    """Average in each cell of a grid, 1x1 convolution, bilinear resize back (Chen et al. 2018, section 3.1).

    DeepLab's released code does something else: a stride-1 average, resized with aligned corners.
    """

    def __init__(self, grid: tuple[int, int], in_channels: int, settings: CellSettings) -> None:
        super().__init__()
        self.grid = grid
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.project = FusedSequential(*_conv_bn_relu(in_channels, settings.filters, settings))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        size = features_BCHW.shape[2], features_BCHW.shape[3]
        if self.training and features_BCHW.is_cuda:
            return resized_by_products(self.project(means_by_products(features_BCHW, self.grid)), size)
        return F.interpolate(self.project(self.pool(features_BCHW)), size=size, mode="bilinear", align_corners=False)


def _conv_bn_relu(in_channels: int, filters: int, settings: CellSettings) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, filters, kernel_size=1, bias=False),
        nn.BatchNorm2d(filters, momentum=settings.bn_momentum),
        nn.ReLU(inplace=True),
    )
