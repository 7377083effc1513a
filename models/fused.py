"""Layers one after the other, which on a GPU run as Triton kernels that take several at once."""

import logging
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.depthwise import AtrousDepthwise

_LOG = logging.getLogger(__name__)


class FusedSequential(nn.Sequential):
    """``nn.Sequential``, faster in training on a GPU: a depthwise convolution, batch norm and ReLU are one there."""

    def forward(self, values_BCHW: Tensor) -> Tensor:
        kernels = _layer_kernels(values_BCHW.device) if self.training else None
        if kernels is None:
            output: Tensor = super().forward(values_BCHW)
            return output
        left = list(self)
        while left:
            match left:
                case [AtrousDepthwise() as depthwise, nn.BatchNorm2d() as norm, nn.ReLU(), *left]:
                    values_BCHW = kernels.atrous_batch_norm_relu(values_BCHW, depthwise.weight, depthwise.dilation, norm)
                case [nn.BatchNorm2d() as norm, nn.ReLU(), *left]:
                    values_BCHW = kernels.batch_norm_relu(values_BCHW, norm)
                case [layer, *left]:
                    values_BCHW = layer(values_BCHW)
        return values_BCHW


def kernels_that_work(name: str, device: torch.device, check: Callable[[ModuleType], None]) -> ModuleType | None:
    """A module of Triton kernels, if these can be used on ``device``; None elsewhere. On a GPU that is logged.

    Args:
        check: raises where they do not do what torch does.
    """
    if device.type != "cuda":
        return None
    try:
        kernels = import_module(name)  # Triton comes with the CUDA builds of torch alone
        check(kernels)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        _LOG.warning("%s: not used on %s, torch's own operators are (%s: %s)", name, device, type(error).__name__, reason)
        return None
    return kernels


@lru_cache
def _layer_kernels(device: torch.device) -> ModuleType | None:
    return kernels_that_work("models.kernels.atrous", device, lambda kernels: check_layer_kernels(kernels, device))


def check_layer_kernels(kernels: ModuleType, device: torch.device) -> None:
    """Compare a small training step with torch's own in float64.

    Raises:
        RuntimeError: outputs or gradients differ.
    """
    rate, generator = (2, 3), torch.Generator().manual_seed(0)
    features_BCHW = torch.randn(2, 72, 9, 11, generator=generator)
    weight_C1RS = torch.randn(72, 1, 3, 3, generator=generator)
    found = []
    for where, dtype in ((device, torch.float32), (torch.device("cpu"), torch.float64)):
        features, weight = (tensor.to(where, dtype).requires_grad_() for tensor in (features_BCHW, weight_C1RS))
        norm = nn.BatchNorm2d(72).to(where, dtype)
        if dtype == torch.float32:
            output_BCHW = kernels.batch_norm_relu(kernels.atrous_batch_norm_relu(features, weight, rate, norm), norm)
        else:
            convolved = F.conv2d(features, weight, padding=rate, dilation=rate, groups=72)
            output_BCHW = norm(norm(convolved).relu()).relu()
        gradients = torch.autograd.grad(output_BCHW.square().sum(), [features, weight, norm.weight, norm.bias])
        found.append([tensor.detach().cpu() for tensor in (output_BCHW, *gradients, norm.running_mean, norm.running_var)])
    for ours, expected in zip(*found, strict=True):
        error = float((ours - expected).abs().max() / expected.abs().max())
        if not error < 1e-3:
            raise RuntimeError(f"differs from torch by {error:.1e}")
