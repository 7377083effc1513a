"""Layers one after the other, which on a GPU run as Triton kernels that take several at once."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.system.locks import Lock
from models.depthwise import AtrousDepthwise
from models.settings import KERNELS

_LOG = logging.getLogger(__name__)

_WORTH_A_LINE_S = 2.0


class FusedSequential(nn.Sequential):
    """``nn.Sequential``, faster in training on a GPU: a depthwise convolution, batch norm and ReLU are one there."""

    def forward(self, values_BCHW: Tensor) -> Tensor:
        kernels = layer_kernels(values_BCHW.device) if self.training else None
        if kernels is None:
            output: Tensor = super().forward(values_BCHW)
            return output
        with torch.cuda.device_of(values_BCHW):  # where Triton launches
            return _run(self, values_BCHW, kernels)


class FusedJoin(nn.Sequential):
    """``FusedSequential`` on maps that are concatenated along channels; dropout comes first and is one with that on a GPU."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        kernels = layer_kernels(maps[0].device) if self.training else None
        if kernels is None:
            output: Tensor = super().forward(torch.cat(list(maps), dim=1))
            return output
        dropout, *layers = self
        assert isinstance(dropout, nn.Dropout)
        with torch.cuda.device_of(maps[0]):
            return _run(layers, kernels.joined(maps, dropout.p), kernels)


def _run(layers: Iterable[nn.Module], values_BCHW: Tensor, kernels: ModuleType) -> Tensor:
    left = list(layers)
    while left:
        match left:
            case [AtrousDepthwise() as depthwise, nn.BatchNorm2d() as norm, nn.ReLU(), *left]:
                values_BCHW = kernels.atrous_batch_norm_relu(values_BCHW, depthwise.weight, depthwise.dilation, norm)
            case [nn.BatchNorm2d() as norm, nn.ReLU(), *left]:
                values_BCHW = kernels.batch_norm_relu(values_BCHW, norm)
            case [layer, *left]:
                values_BCHW = layer(values_BCHW)
    return values_BCHW


def layer_kernels(device: torch.device) -> ModuleType | None:
    """The kernels of layers that ``device`` uses; None for torch's own operators."""
    return _layer_kernels(device) if kernels_are_on() else None


def kernels_are_on() -> bool:
    """Whether this process may use kernels where they work."""
    return os.environ.get(KERNELS) != "0"


def kernels_that_work(name: str, device: torch.device, check: Callable[[ModuleType], None]) -> ModuleType | None:
    """A module of Triton kernels, if these can be used on ``device``; None elsewhere. On a GPU that is logged.

    The check compiles them. Of the processes of a node one does, and the others find them in Triton's folder.

    Args:
        check: raises where they do not do what torch does.
    """
    if device.type != "cuda":
        return None
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # of Triton 3.9: a line of warning, and slower from 3.10 on
    started_s = time.monotonic()
    try:
        kernels = import_module(name)  # Triton comes with the CUDA builds of torch alone
        folder = _triton_folder()
        folder.mkdir(parents=True, exist_ok=True)
        is_here = torch.cuda.is_available()  # else a test's device, and the check says what is wrong
        with Lock(folder / "dpc-search.lock", wait=True), torch.cuda.device(device) if is_here else nullcontext():
            check(kernels)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        _LOG.warning("%s: not used on %s, torch's own operators are (%s: %s)", name, device, type(error).__name__, reason)
        return None
    if (took_s := time.monotonic() - started_s) > _WORTH_A_LINE_S:
        _LOG.warning("%s: compiled and checked on %s in %.0f s, once a node (%s)", name, device, took_s, folder)
    return kernels


def _triton_folder() -> Path:
    """Where Triton keeps what it compiled."""
    return Path(os.environ.get("TRITON_CACHE_DIR") or Path(os.environ.get("TRITON_HOME") or Path.home()) / ".triton" / "cache")


@lru_cache
def _layer_kernels(device: torch.device) -> ModuleType | None:
    def choose_and_check(kernels: ModuleType) -> None:
        gpu = torch.cuda.get_device_name(device).replace(" ", "-")
        chosen = kernels.choose_shapes(device, _triton_folder() / f"dpc-search-shapes-{gpu}.json")
        if chosen:
            _LOG.warning("models.kernels.layers: shapes that are fastest on %s: %s", gpu, chosen)
        check_layer_kernels(kernels, device)

    return kernels_that_work("models.kernels.layers", device, choose_and_check)


CHECKED = (
    (80, (1, 6), torch.bfloat16),
    (256, (6, 1), torch.bfloat16),
    (320, (21, 15), torch.bfloat16),
    (72, (2, 3), torch.float32),
)
"""Channels, rates and types that trials run with: backbones' channels, and filters."""


def check_layer_kernels(
    kernels: ModuleType,
    device: torch.device,
    checked: Sequence[tuple[int, tuple[int, int], torch.dtype]] = CHECKED,
    size: tuple[int, int] = (9, 11),
) -> None:
    """Compare small training steps with torch's own in float64.

    Raises:
        RuntimeError: outputs or gradients differ.
    """
    for channels, rate, dtype in checked:
        generator = torch.Generator().manual_seed(0)
        features_BCHW = torch.randn(2, channels, *size, generator=generator).to(dtype)
        weight_C1RS = torch.randn(channels, 1, 3, 3, generator=generator)
        upstream_BCHW = torch.randn(2, channels, *size, generator=generator).to(dtype)
        found = _step(kernels, features_BCHW.to(device), weight_C1RS.to(device), upstream_BCHW.to(device), rate)
        expected = _step(None, features_BCHW.double(), weight_C1RS.double(), upstream_BCHW.double(), rate)
        for ours, exact in zip(found, expected, strict=True):
            error = float((ours.cpu().double() - exact).norm() / exact.norm())
            if not error < (8e-2 if dtype == torch.bfloat16 else 1e-4):
                raise RuntimeError(f"differs from torch by {error:.1e} at {channels} channels, rate {rate}, {dtype}")
    maps = [torch.ones(2, 16, *size, device=device) for _ in range(2)]
    if not torch.equal(kernels.joined(maps, 0.0), torch.cat(maps, dim=1)):
        raise RuntimeError("maps that are joined differ from torch's")


def _step(
    kernels: ModuleType | None, features_BCHW: Tensor, weight_C1RS: Tensor, upstream_BCHW: Tensor, rate: tuple[int, int]
) -> list[Tensor]:
    """Two normalised layers, by kernels or by torch: output, gradients, running statistics."""
    features, weight = features_BCHW.requires_grad_(), weight_C1RS.requires_grad_()
    norm = nn.BatchNorm2d(len(weight)).to(weight.device, weight.dtype)
    if kernels:
        output_BCHW = kernels.batch_norm_relu(kernels.atrous_batch_norm_relu(features, weight, rate, norm), norm)
    else:
        convolved = F.conv2d(features, weight, padding=rate, dilation=rate, groups=len(weight))
        output_BCHW = norm(norm(convolved).relu()).relu()
    gradients = torch.autograd.grad(output_BCHW, [features, weight, norm.weight, norm.bias], upstream_BCHW)
    return [tensor.detach() for tensor in (output_BCHW, *gradients, *norm.buffers()) if tensor.is_floating_point()]
