"""Optimisers."""

from collections.abc import Iterable

import torch
from torch import nn

from training.settings import OptimizerSettings


def build_optimizer(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimiser of the parameters that are trained. On a GPU it takes its learning rate from a tensor, too."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    on_gpu = all(parameter.is_cuda for parameter in trainable)
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.name == "adamw":
        return torch.optim.AdamW(trainable, lr=rate, weight_decay=decay, fused=on_gpu, capturable=on_gpu)
    return torch.optim.SGD(trainable, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=on_gpu)
