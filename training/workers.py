"""The processes that train one model together, each on its share of every batch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from training.device import given_device


class Workers(Protocol):
    """This process among those that share a training."""

    @property
    def rank(self) -> int:
        """From 0; the first keeps the model."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this one trains."""
        ...

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as it is called in a step: gradients are averaged over all."""
        ...

    def sum(self, part: Tensor) -> Tensor:
        """Over all of them, where ``part`` is; no gradient passes."""
        ...

    def adopt_buffers(self, model: nn.Module) -> None:
        """Those of the first: its batch norm may have seen other values than the others'."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process that trains by itself."""

    rank: int = 0
    size: int = 1

    @property
    def device(self) -> torch.device:
        return given_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        return model

    def sum(self, part: Tensor) -> Tensor:
        return part

    def adopt_buffers(self, model: nn.Module) -> None:
        pass


ALONE = Alone()
