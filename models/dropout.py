"""Dropout whose mask costs a CPU little."""

import numpy as np
import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """Drops ``p`` of the values, to the nearest 65,536th, and scales the others up; seeded by torch's generator.

    Torch draws one number after the other, which on a CPU takes as long as a fifth of a whole training step (docs/log.md).
    """

    def forward(self, values: Tensor) -> Tensor:
        dropped = round(self.p * _LEVELS)
        if not self.training or dropped == 0 or values.device.type != "cpu":
            return super().forward(values)
        rng = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, ()))))
        words = rng.integers(2**64, size=-(-values.numel() // 4), dtype=np.uint64)  # four draws of 16 bits each
        draws = torch.from_numpy(words.view(np.int16))[: values.numel()].view(values.shape)
        scale = torch.tensor(_LEVELS / (_LEVELS - dropped), dtype=values.dtype)
        return values * torch.where(draws >= dropped - _LEVELS // 2, scale, torch.zeros((), dtype=values.dtype))
