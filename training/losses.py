"""The segmentation loss, at the labels' own resolution and without full-resolution logits."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, eq=False)
class Weighing:
    """How much pixels count; as it is, all that are labelled count alike.

    Attributes:
        class_weights_K: a pixel counts as much as its class.
        hard_pixels: share of the labelled pixels that count, those of the largest loss.
        label_smoothing: of the target, spread over all classes.
    """

    class_weights_K: Tensor | None = None
    hard_pixels: float = 1.0
    label_smoothing: float = 0.0

    @property
    def kind(self) -> tuple[bool, bool]:
        """Whether classes weigh differently, and whether labels are smoothed: for each there is a kernel."""
        return self.class_weights_K is not None, self.label_smoothing > 0


EQUAL = Weighing()


def segmentation_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, weighing: Weighing = EQUAL) -> Tensor:
    """Mean cross entropy of the bilinearly upsampled logits over the pixels that count; 0 where none does.

    Equal to ``F.cross_entropy(resized(...), labels, weight, ignore_index=..., label_smoothing=...)`` in value and gradient, of
    the hard pixels; ``resized`` is that of ``models.grid``. The gradient is found on the way, so that neither needs the
    full-resolution logits (docs/log.md has the gain).

    Args:
        logits_BKhw: class scores at the features' resolution.
        labels_BHW: class ids at the image's resolution, uint8; pixels equal to ``ignore_label`` do not count.
    """
    loss: Tensor = _UpsampledCrossEntropy.apply(logits_BKhw, labels_BHW, ignore_label, weighing)
    return loss


def total_weight(labels_BHW: Tensor, ignore_label: int, weighing: Weighing) -> Tensor:
    """What the labelled pixels count together: the loss is a mean by it, or of the hard ones among them."""
    return _weights(labels_BHW, labels_BHW != ignore_label, weighing).sum()


class _UpsampledCrossEntropy(torch.autograd.Function):
    """On a GPU one kernel, elsewhere strips of rows."""

    @staticmethod
    def forward(ctx: Any, logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, weighing: Weighing) -> Tensor:
        logits = logits_BKhw.detach()
        if weighing.hard_pixels < 1:
            labels_BHW = _hard_alone(logits, labels_BHW, ignore_label, weighing)
        kernels = _loss_kernels(logits.device, weighing.kind) if kernels_are_on() else None
        if kernels:
            with torch.cuda.device_of(logits):  # where Triton launches
                weights = weighing.class_weights_K, weighing.label_smoothing
                loss, gradient_BKhw = kernels.loss_and_gradient(logits, labels_BHW, ignore_label, *weights)
        else:
            loss, gradient_BKhw = loss_and_gradient_in_strips(logits, labels_BHW, ignore_label, weighing)
        ctx.save_for_backward(gradient_BKhw)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_BKhw,) = ctx.saved_tensors
        return gradient_BKhw * upstream[0], None, None, None


def loss_and_gradient_in_strips(
    logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, weighing: Weighing = EQUAL
) -> tuple[Tensor, Tensor]:
    """The loss of all labelled pixels, and its gradient with respect to the logits.

    Bilinear upsampling is two small matrix products, rows by columns; the gradient runs back through the same two.
    """
    batch, classes, height, width = logits_BKhw.shape
    device = logits_BKhw.device
    columns_Ww = _bilinear(labels_BHW.shape[2], width, device)
    wide_NhW = logits_BKhw.float().reshape(batch * classes, height, width) @ columns_Ww.T
    gradient_NhW = torch.zeros_like(wide_NhW)
    strips = _strips(labels_BHW.shape[1], height, device)
    counts_BHW = labels_BHW != ignore_label
    weights_BHW = _weights(labels_BHW, counts_BHW, weighing)
    certain, spread_K11 = 1 - weighing.label_smoothing, _spread(classes, device, weighing)
    total = wide_NhW.new_zeros(())
    for start, first, strip_Rh in strips:
        touched, rows = slice(first, first + strip_Rh.shape[1]), slice(start, start + len(strip_Rh))
        counts_B1RW, weights_B1RW = counts_BHW[:, None, rows], certain * weights_BHW[:, None, rows]
        targets_B1RW = labels_BHW[:, None, rows].long().where(counts_B1RW, 0)
        logits_NRW = strip_Rh @ wide_NhW[:, touched]
        logits_BKRW = logits_NRW.view(batch, classes, len(strip_Rh), -1)
        logits_BKRW -= logits_BKRW.amax(dim=1, keepdim=True)
        told_B1RW, all_B1RW = weights_B1RW * logits_BKRW.gather(1, targets_B1RW), weights_B1RW
        if spread_K11 is not None:
            told_B1RW += counts_B1RW * (spread_K11 * logits_BKRW).sum(dim=1, keepdim=True)
            all_B1RW = weights_B1RW + counts_B1RW * spread_K11.sum()
        sums_B1RW = logits_BKRW.exp_().sum(dim=1, keepdim=True)
        total += (sums_B1RW.log() * all_B1RW - told_B1RW).sum()
        logits_BKRW *= all_B1RW / sums_B1RW  # now the probabilities, and minus the target their gradient
        logits_BKRW.scatter_add_(1, targets_B1RW, -weights_B1RW)
        if spread_K11 is not None:
            logits_BKRW -= counts_B1RW * spread_K11
        gradient_NhW[:, touched] += strip_Rh.T @ logits_NRW
    weight = weights_BHW.sum()
    weight = weight.where(weight > 0, 1)
    gradient_BKhw = (gradient_NhW @ columns_Ww / weight).view_as(logits_BKhw).to(logits_BKhw.dtype)
    return total / weight, gradient_BKhw


def _hard_alone(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, weighing: Weighing) -> Tensor:
    """The labels (B, H, W) of the pixels whose loss is among the largest; the others are to be ignored."""
    batch, classes, height, width = logits_BKhw.shape
    device, counts_BHW = logits_BKhw.device, labels_BHW != ignore_label
    columns_Ww = _bilinear(labels_BHW.shape[2], width, device)
    wide_NhW = logits_BKhw.float().reshape(batch * classes, height, width) @ columns_Ww.T
    losses = []
    for start, first, strip_Rh in _strips(labels_BHW.shape[1], height, device):
        logits_NRW = strip_Rh @ wide_NhW[:, first : first + strip_Rh.shape[1]]
        logits_BKRW = logits_NRW.view(batch, classes, *logits_NRW.shape[1:])
        rows = slice(start, start + len(strip_Rh))
        targets_BRW = labels_BHW[:, rows].long().where(counts_BHW[:, rows], 0)
        losses.append(F.cross_entropy(logits_BKRW, targets_BRW, weighing.class_weights_K, reduction="none"))
    losses_BHW = torch.cat(losses, dim=1).where(counts_BHW, -torch.inf)
    number_1 = (counts_BHW.sum() * weighing.hard_pixels).ceil().long().clamp(min=1).view(1)
    least = losses_BHW.flatten().sort(descending=True).values.index_select(0, number_1 - 1)
    return labels_BHW.where(losses_BHW >= least, ignore_label)


def _weights(labels_BHW: Tensor, counts_BHW: Tensor, weighing: Weighing) -> Tensor:
    """Of each pixel, (B, H, W) float32."""
    if weighing.class_weights_K is None:
        return counts_BHW.float()
    return weighing.class_weights_K[labels_BHW.long().where(counts_BHW, 0)] * counts_BHW


def _spread(classes: int, device: torch.device, weighing: Weighing) -> Tensor | None:
    """What each class, (K, 1, 1), gets of a pixel's target whatever its label; None for nothing."""
    if weighing.label_smoothing == 0:
        return None
    weights_K = weighing.class_weights_K
    if weights_K is None:
        weights_K = torch.ones(classes, device=device)
    return weights_K.view(-1, 1, 1) * (weighing.label_smoothing / classes)


@lru_cache(maxsize=16)
def _strips(out: int, size: int, device: torch.device) -> list[tuple[int, int, Tensor]]:
    """The strips of the row matrix: first row, first column that is not zero, and what lies between the zeros, (R, h)."""
    strips = []
    for start, strip_Rh in zip(range(0, out, STRIP_ROWS), _bilinear(out, size, device).split(STRIP_ROWS), strict=True):
        touched = strip_Rh.any(dim=0).nonzero().flatten()
        first = int(touched[0])
        strips.append((start, first, strip_Rh[:, first : int(touched[-1]) + 1]))
    return strips


@lru_cache(maxsize=16)
def _bilinear(out: int, size: int, device: torch.device) -> Tensor:
    """The (out, size) matrix that resizes a line."""
    lines_1ss = torch.eye(size, dtype=torch.float64)[None]
    resized = F.interpolate(lines_1ss, size=out, mode="linear", align_corners=True)[0].T
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
def _loss_kernels(device: torch.device, kind: tuple[bool, bool] = EQUAL.kind) -> ModuleType | None:
    return kernels_that_work(
        "training.kernels.upsampled_loss", device, lambda kernels: check_loss_kernels(kernels, device, kind=kind)
    )


def check_loss_kernels(
    kernels: ModuleType, device: torch.device, classes: Sequence[int] = (19,), kind: tuple[bool, bool] = EQUAL.kind
) -> None:
    """Compare with the strips, in either float type.

    Args:
        kind: whether classes weigh differently, and whether labels are smoothed.

    Raises:
        RuntimeError: loss or gradient differ.
    """
    is_weighted, is_smoothed = kind
    for count, dtype in product(classes, (torch.bfloat16, torch.float32)):
        generator = torch.Generator().manual_seed(0)
        logits_BKhw = torch.randn(2, count, 3, 4, generator=generator).to(device, dtype, memory_format=torch.channels_last)
        labels_BHW = torch.randint(0, count, (2, 33, 49), generator=generator, dtype=torch.uint8).to(device)
        weights_K = torch.linspace(0.5, 2, count, device=device) if is_weighted else None
        weighing = Weighing(weights_K, label_smoothing=0.1 if is_smoothed else 0.0)
        given = weighing.class_weights_K, weighing.label_smoothing
        loss, gradient_BKhw = kernels.loss_and_gradient(logits_BKhw, labels_BHW, 0, *given)
        exact_loss, exact_BKhw = loss_and_gradient_in_strips(logits_BKhw.float(), labels_BHW, 0, weighing)
        for ours, exact in ((loss, exact_loss), (gradient_BKhw, exact_BKhw)):
            error = float((ours.float() - exact).abs().max() / exact.abs().max())
            if not error < 1e-2:
                raise RuntimeError(f"differs from torch by {error:.1e} with {count} classes, {dtype}")
