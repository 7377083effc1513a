"""Optimisers."""

from collections.abc import Mapping

import torch
from torch import nn

from training.settings import OptimizerSettings

RATE = "rate"
"""Of a group of parameters: the factor of its learning rate."""


def build_optimizer(
    settings: OptimizerSettings, model: nn.Module, rates: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """An optimiser of the parameters that are trained. On a GPU it takes its learning rate from a tensor, too.

    Args:
        rates: factors of the learning rate, by how a parameter's name begins; of the first that fits. 1 where none does.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    biases = {id(layer.bias) for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = next((rate for start, rate in (rates or {}).items() if name.startswith(start)), 1.0)
            rate *= settings.bias_rate if id(parameter) in biases else 1.0
            decay = settings.weight_decay if settings.decayed == "all" or _mixes_channels(parameter) else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    given = [{"params": some, "weight_decay": decay, RATE: rate} for (rate, decay), some in groups.items()]
    on_gpu = all(parameter.is_cuda for some in groups.values() for parameter in some)
    if settings.name == "adamw":
        return torch.optim.AdamW(given, lr=settings.learning_rate, fused=on_gpu, capturable=on_gpu)
    return torch.optim.SGD(given, lr=settings.learning_rate, momentum=settings.momentum, fused=on_gpu)


def _mixes_channels(parameter: nn.Parameter) -> bool:
    """Whether it is the weight of a linear layer or of a convolution that is not depthwise."""
    return parameter.ndim >= 2 and parameter.shape[1] > 1
