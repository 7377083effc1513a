"""Activations that are computed again in the backward pass, and not kept for it: less memory, a third more work."""

from collections.abc import Callable, Iterator
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
    hooks = getattr(network, "hooks", None) or getattr(network, "feature_hooks", None)
    for block in blocks:
        again = partial(_again, block, hooks)
        block.forward = partial(_recomputed, block, block.forward, again)  # type: ignore[method-assign]


def _blocks(network: nn.Module, is_container: bool) -> Iterator[nn.Module]:
    """The largest modules that stand one after the other."""
    for child in network.children():
        if isinstance(child, _CONTAINERS):
            yield from _blocks(child, True)
        elif is_container and any(True for _ in child.parameters()):
            yield child


def _recomputed(block: nn.Module, forward: Any, again: Callable[[], AbstractContextManager[None]], *inputs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))


@contextmanager
def _again(block: nn.Module, hooks: Any) -> Iterator[None]:
    """The second time, in which batch norm must not count the batch again, nor timm's hooks collect maps of the block.

    Args:
        hooks: timm's ``FeatureHooks``, of an encoder that finds its maps by them; else None. Maps from here would be held until
            the next step, and given in another order by timm 1.0.26.
    """
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
        if hooks is not None:
            hooks.get_output(next(block.parameters()).device)
