"""Activations that are computed again in the backward pass, and not kept for it: less memory, a third more work."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from data.system.errors import UserError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def recompute_blocks(encoder: nn.Module) -> None:
    """Keep what each of the encoder's blocks is given alone (Chen et al. 2016, 1604.06174). Gradients and statistics stay.

    Raises:
        UserError: it has none.
    """
    network = dict(encoder.named_children()).get("model", encoder)
    blocks = list(_blocks(network, isinstance(network, _CONTAINERS)))
    if not blocks:
        raise UserError("training.activation_checkpointing: must be false, this backbone has no blocks in a row.")
    for block in blocks:
        block.forward = partial(_recomputed, block, block.forward)  # type: ignore[method-assign]


def _blocks(network: nn.Module, is_container: bool) -> Iterator[nn.Module]:
    """The largest modules that stand one after the other."""
    for child in network.children():
        if isinstance(child, _CONTAINERS):
            yield from _blocks(child, True)
        elif is_container and any(True for _ in child.parameters()):
            yield child


def _recomputed(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the first time, and for the second, in which batch norm must not count the batch again."""
    return nullcontext(), _statistics_stay(block)


@contextmanager
def _statistics_stay(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counts = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)
