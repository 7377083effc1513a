"""The first run on a kind of GPU chooses shapes for the kernels that take longest."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from triton.testing import do_bench

from models.kernels import atrous
from models.kernels.batch_norm import as_rows
from models.kernels.shapes import choose

RATES = ((1, 1), (6, 3), (18, 15))


def choose_shapes(
    device: torch.device, kept: Path, size: tuple[int, int, int, int] = (8, 256, 49, 49)
) -> dict[str, str] | None:
    """Times at the paper's size, in bfloat16, over a short, a middle and a long rate; as ``shapes.choose``."""
    maps_BCHW = torch.randn(size, device=device).bfloat16().contiguous(memory_format=torch.channels_last)
    weight_9C = torch.randn(9, size[1], device=device)
    norm = nn.BatchNorm2d(size[1]).to(device)
    gradient_NC = as_rows(maps_BCHW)

    def over_rates(call: Callable[[tuple[int, int]], object]) -> Callable[[], float]:
        return lambda: sum(do_bench(lambda rate=rate: call(rate), warmup=5, rep=20) for rate in RATES)

    return choose(
        {
            "convolve": (atrous.CONVOLVE, over_rates(lambda rate: atrous.convolved(maps_BCHW, weight_9C, rate, norm))),
            "correlate": (
                atrous.CORRELATE,
                over_rates(lambda rate: atrous.weight_gradient(maps_BCHW, gradient_NC, rate, norm)),
            ),
        },
        kept,
    )
