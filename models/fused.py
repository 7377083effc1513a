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
    """Layers on maps that are concatenated along channels; dropout comes first.

    On a GPU each of these maps is written where the concatenation has it, with dropout on the way.
    """

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        output: Tensor = super().forward(torch.cat(list(maps), dim=1))
        return output

    def begun(self, number: int, device: torch.device) -> "FusedJoint | None":
        """The concatenation of so many maps as it comes to be; None where they are concatenated when all are there."""
        kernels = layer_kernels(device) if self.training else None
        return FusedJoint(self, number, kernels) if kernels else None


class FusedJoint:
    """What a ``FusedJoin`` is given, map by map."""

    def __init__(self, join: FusedJoin, number: int, kernels: ModuleType) -> None:
        dropout, *self._layers = join
        assert isinstance(dropout, nn.Dropout)
        self._kernels, self._joint = kernels, kernels.Joint(number, dropout.p)
        self._parts: list[Tensor] = []

    def add(self, branch: nn.Module, values_BCHW: Tensor, is_read: bool) -> Tensor | None:
        """Run a branch; what it gives lies in its place, and is returned if others read it."""
        number = len(self._parts)
        with torch.cuda.device_of(values_BCHW):
            match list(branch) if isinstance(branch, FusedSequential) else []:
                case [*layers, nn.BatchNorm2d() as norm, nn.ReLU()]:
                    values_BCHW = _run(layers, values_BCHW, self._kernels)
                    place = self._joint.place(number, values_BCHW)
                    output_BCHW, part = self._kernels.batch_norm_relu_into(values_BCHW, norm, place, is_read)
                case _:
                    output_BCHW = branch(values_BCHW)
                    part = self._kernels.placed(output_BCHW, self._joint.place(number, output_BCHW))
        self._parts.append(part)
        return output_BCHW

    def finish(self) -> Tensor:
        """The layers' output."""
        whole_BCHW = self._joint.whole(self._parts)
        with torch.cuda.device_of(whole_BCHW):
            return _run(self._layers, whole_BCHW, self._kernels)


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
        _LOG.warning("%s: compiled and checked on %s in %.0f s, once per node (%s)", name, device, took_s, folder)
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
        upstream_BCHW = torch.randn(2, 2 * channels, *size, generator=generator).to(dtype)
        found = _step(kernels, features_BCHW.to(device), weight_C1RS.to(device), upstream_BCHW.to(device), rate)
        expected = _step(None, features_BCHW.double(), weight_C1RS.double(), upstream_BCHW.double(), rate)
        for ours, exact in zip(found, expected, strict=True):
            error = float((ours.cpu().double() - exact).norm() / exact.norm())
            if not error < (8e-2 if dtype == torch.bfloat16 else 1e-4):
                raise RuntimeError(f"differs from torch by {error:.1e} at {channels} channels, rate {rate}, {dtype}")


def _step(
    kernels: ModuleType | None, features_BCHW: Tensor, weight_C1RS: Tensor, upstream_BCHW: Tensor, rate: tuple[int, int]
) -> list[Tensor]:
    """Two normalised layers and the second twice side by side, by kernels or torch: output, gradients, statistics."""
    features, weight = features_BCHW.requires_grad_(), weight_C1RS.requires_grad_()
    norm = nn.BatchNorm2d(len(weight)).to(weight.device, weight.dtype)
    if kernels:
        joint, convolved = kernels.Joint(2, 0.0), kernels.atrous_batch_norm_relu(features, weight, rate, norm)
        normed, part = kernels.batch_norm_relu_into(convolved, norm, joint.place(0, convolved), True)
        output_BCHW = joint.whole([part, kernels.placed(normed, joint.place(1, convolved))])
    else:
        convolved = F.conv2d(features, weight, padding=rate, dilation=rate, groups=len(weight))
        output_BCHW = norm(norm(convolved).relu()).relu().repeat(1, 2, 1, 1)
    gradients = torch.autograd.grad(output_BCHW, [features, weight, norm.weight, norm.bias], upstream_BCHW)
    return [tensor.detach() for tensor in (output_BCHW, *gradients, *norm.buffers()) if tensor.is_floating_point()]
