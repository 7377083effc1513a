"""The segmentation loss, at the labels' own resolution and without full-resolution logits."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.fused import kernels_are_on, kernels_that_work, layer_kernels

STRIP_ROWS = 16
"""Rows of pixels that are upsampled at a time: a strip stays in the processor's cache."""


def segmentation_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, align_corners: bool = True) -> Tensor:
    """Mean cross entropy of the bilinearly upsampled logits over the pixels that count; 0 where none does.

    Equal to ``F.cross_entropy(F.interpolate(...), labels, ignore_index=...)`` in value and gradient. The gradient is found on
    the way, so that neither needs the full-resolution logits (docs/log.md has the gain).

    Args:
        logits_BKhw: class scores at the features' resolution.
        labels_BHW: class ids at the image's resolution, uint8; pixels equal to ``ignore_label`` do not count.
    """
    loss: Tensor = _UpsampledCrossEntropy.apply(logits_BKhw, labels_BHW, ignore_label, align_corners)
    return loss


class _UpsampledCrossEntropy(torch.autograd.Function):
    """On a GPU one kernel, elsewhere strips of rows."""

    @staticmethod
    def forward(ctx: Any, logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, align_corners: bool) -> Tensor:
        kernels = _loss_kernels(logits_BKhw.device) if kernels_are_on() else None
        arguments = logits_BKhw.detach(), labels_BHW, ignore_label, align_corners
        if kernels:
            with torch.cuda.device_of(logits_BKhw):  # where Triton launches
                loss, gradient_BKhw = kernels.loss_and_gradient(*arguments)
        else:
            loss, gradient_BKhw = loss_and_gradient_in_strips(*arguments)
        ctx.save_for_backward(gradient_BKhw)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_BKhw,) = ctx.saved_tensors
        return gradient_BKhw * upstream[0], None, None, None


def loss_and_gradient_in_strips(
    logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient with respect to the logits.

    Bilinear upsampling is two small matrix products, rows by columns; the gradient runs back through the same two.
    """
    batch, classes, height, width = logits_BKhw.shape
    device = logits_BKhw.device
    columns_Ww = _bilinear(labels_BHW.shape[2], width, align_corners, device)
    wide_NhW = logits_BKhw.float().reshape(batch * classes, height, width) @ columns_Ww.T
    gradient_NhW = torch.zeros_like(wide_NhW)
    total = wide_NhW.new_zeros(())
    for start, first, strip_Rh in _strips(labels_BHW.shape[1], height, align_corners, device):
        touched = slice(first, first + strip_Rh.shape[1])
        labels_BRW = labels_BHW[:, start : start + len(strip_Rh)].long()
        counts_B1RW = (labels_BRW != ignore_label).unsqueeze(1)
        targets_B1RW = labels_BRW.unsqueeze(1).where(counts_B1RW, 0)
        logits_NRW = strip_Rh @ wide_NhW[:, touched]
        logits_BKRW = logits_NRW.view(batch, classes, *labels_BRW.shape[1:])
        logits_BKRW -= logits_BKRW.amax(dim=1, keepdim=True)
        targeted_B1RW = logits_BKRW.gather(1, targets_B1RW)
        sums_B1RW = logits_BKRW.exp_().sum(dim=1, keepdim=True)
        total += ((sums_B1RW.log() - targeted_B1RW) * counts_B1RW).sum()
        logits_BKRW *= counts_B1RW / sums_B1RW  # now the probabilities, and minus one at the target their gradient
        logits_BKRW.scatter_add_(1, targets_B1RW, -counts_B1RW.to(logits_BKRW.dtype))
        gradient_NhW[:, touched] += strip_Rh.T @ logits_NRW
    count = (labels_BHW != ignore_label).sum().clamp(min=1)
    gradient_BKhw = (gradient_NhW @ columns_Ww / count).view_as(logits_BKhw).to(logits_BKhw.dtype)
    return total / count, gradient_BKhw


@lru_cache(maxsize=16)
def _strips(out: int, size: int, align_corners: bool, device: torch.device) -> list[tuple[int, int, Tensor]]:
    """The strips of the row matrix: first row, first column that is not zero, and what lies between the zeros, (R, h)."""
    strips = []
    for start, strip_Rh in zip(
        range(0, out, STRIP_ROWS), _bilinear(out, size, align_corners, device).split(STRIP_ROWS), strict=True
    ):
        touched = strip_Rh.any(dim=0).nonzero().flatten()
        first = int(touched[0])
        strips.append((start, first, strip_Rh[:, first : int(touched[-1]) + 1]))
    return strips


@lru_cache(maxsize=16)
def _bilinear(out: int, size: int, align_corners: bool, device: torch.device) -> Tensor:
    """The (out, size) matrix that resizes a line."""
    lines_1ss = torch.eye(size, dtype=torch.float64)[None]
    resized = F.interpolate(lines_1ss, size=out, mode="linear", align_corners=align_corners)[0].T
    return resized.float().contiguous().to(device)


def warm_up(device: torch.device, num_classes: int) -> None:
    """Compile and check what a training on a GPU needs, once in a process: no trial's time has it."""
    if device.type == "cuda" and kernels_are_on():
        layer_kernels(device)
        _loss_kernels(device)
        _warm_up_loss(device, num_classes)


@lru_cache
def _warm_up_loss(device: torch.device, num_classes: int) -> None:
    logits_BKhw = torch.zeros(1, num_classes, 2, 2, device=device, dtype=torch.bfloat16)
    segmentation_loss(
        logits_BKhw.contiguous(memory_format=torch.channels_last), torch.zeros(1, 17, 17, device=device, dtype=torch.uint8), 255
    )


@lru_cache
def _loss_kernels(device: torch.device) -> ModuleType | None:
    return kernels_that_work("training.kernels.upsampled_loss", device, lambda kernels: check_loss_kernels(kernels, device))


def check_loss_kernels(kernels: ModuleType, device: torch.device, classes: Sequence[int] = (19,)) -> None:
    """Compare with the strips, in either float type.

    Raises:
        RuntimeError: loss or gradient differ.
    """
    for count, dtype in product(classes, (torch.bfloat16, torch.float32)):
        generator = torch.Generator().manual_seed(0)
        logits_BKhw = torch.randn(2, count, 3, 4, generator=generator).to(device, dtype, memory_format=torch.channels_last)
        labels_BHW = torch.randint(0, count, (2, 33, 49), generator=generator, dtype=torch.uint8).to(device)
        loss, gradient_BKhw = kernels.loss_and_gradient(logits_BKhw, labels_BHW, 0, True)
        exact_loss, exact_BKhw = loss_and_gradient_in_strips(logits_BKhw.float(), labels_BHW, 0, True)
        for ours, exact in ((loss, exact_loss), (gradient_BKhw, exact_BKhw)):
            error = float((ours.float() - exact).abs().max() / exact.abs().max())
            if not error < 1e-2:
                raise RuntimeError(f"differs from torch by {error:.1e} with {count} classes, {dtype}")
