"""Batch norm whose running statistics are placeholders, given those of the data: the network computes what it did before."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Moments:
    """Sums of a layer's inputs, channel by channel."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values_BCHW = inputs[0].double()
        self.count += values_BCHW.numel() // values_BCHW.shape[1]
        self.sum = self.sum.to(values_BCHW.device) + values_BCHW.sum(dim=(0, 2, 3))
        self.squares = self.squares.to(values_BCHW.device) + values_BCHW.square().sum(dim=(0, 2, 3))


@torch.no_grad()
def recalibrate(network: nn.Module, batches_BCHW: Iterable[Tensor]) -> None:
    """Make the statistics of each batch norm those of its inputs, and its weight and bias such that what it gives stays.

    Weights whose batch norm was folded into the convolutions carry statistics of 0 and 1. In training mode such a layer would
    normalise what is not to be normalised, so that it had to stay frozen; after this it may be trained.

    Args:
        batches_BCHW: images as the network takes them; a few hundred are enough.
    """
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    moments = [_Moments() for _ in layers]
    hooks: list[Any] = [layer.register_forward_pre_hook(seen.add) for layer, seen in zip(layers, moments, strict=True)]
    was_training = network.training
    network.eval()
    try:
        for images_BCHW in batches_BCHW:
            network(images_BCHW)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    for layer, seen in zip(layers, moments, strict=True):
        if seen.count:
            _adopt(layer, seen.sum / seen.count, seen.squares / seen.count)


def _adopt(layer: _BatchNorm, mean_C: Tensor, square_C: Tensor) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    var_C = (square_C - mean_C.square()).clamp(min=0)
    before_C = layer.weight / (layer.running_var + layer.eps).sqrt()
    layer.bias.copy_(layer.bias + before_C * (mean_C - layer.running_mean))
    layer.weight.copy_(before_C * (var_C + layer.eps).sqrt())
    layer.running_mean.copy_(mean_C)
    layer.running_var.copy_(var_C)
