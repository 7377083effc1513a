"""Upsampling and cross entropy in one Triton kernel: loss and gradient, without full-resolution logits.

The pixels between four neighbouring features share these as the corners of their cell. A program takes one cell of one image:
it loads the corners' logits once, interpolates, compares with the labels, and sums the gradients of its four corners. A second
kernel adds up what the cells around a feature found. No atomics: the same input gives the same bits.
"""

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE_ELEMENTS = 2048
"""Pixels times classes that a program holds at once; with twice as many registers spill (ptxas, sm_90)."""
_TILE_COLUMNS = 16
"""Of pixels: the distance of two features at output stride 16."""


def loss_and_gradient(
    logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int, align_corners: bool = True
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of the bilinearly upsampled logits over the pixels that count, and its gradient.

    Nothing waits for the device, and three kernels are launched.

    Args:
        logits_BKhw: any float type and strides.
        labels_BHW: uint8; pixels equal to ``ignore_label`` do not count.
        align_corners: as in ``F.interpolate``.

    Returns:
        The loss, float32, 0 where no pixel counts; the gradient of the logits, of their type and contiguous.
    """
    batch, classes, height, width = logits_BKhw.shape
    labels_BHW = labels_BHW.contiguous()
    device = logits_BKhw.device
    (row_starts, row_fractions), (column_starts, column_fractions) = (
        _axis(pixels, size, align_corners, device) for pixels, size in zip(labels_BHW.shape[1:], (height, width), strict=True)
    )
    block = triton.next_power_of_2(classes)
    sums_2N = torch.empty((2, batch * height * width), dtype=torch.float32, device=device)
    corners_N4K = torch.empty((batch * height * width, 4, classes), dtype=torch.float32, device=device)
    _cells[(height * width, batch)](
        logits_BKhw, *logits_BKhw.stride(), labels_BHW, row_starts, row_fractions, column_starts, column_fractions,
        sums_2N, corners_N4K, height, width, *labels_BHW.shape[1:], classes, ignore_label,
        BLOCK=block, ROWS=max(1, _TILE_ELEMENTS // (_TILE_COLUMNS * block)), COLUMNS=_TILE_COLUMNS, num_warps=8,
    )  # fmt: skip
    totals_2 = sums_2N.sum(dim=1)
    gradient_BKhw = torch.empty((batch, classes, height, width), dtype=logits_BKhw.dtype, device=device)
    loss = torch.empty((), dtype=torch.float32, device=device)
    _features[(height * width, batch)](corners_N4K, totals_2, gradient_BKhw, loss, height, width, classes, BLOCK=block)
    return loss, gradient_BKhw


@triton.jit
def _cells(  # noqa: PLR0915
    logits, stride_b, stride_k, stride_h, stride_w, labels, row_starts, row_fractions, column_starts, column_fractions,
    sums, corners, height, width, height_px, width_px, classes, ignore_label,
    BLOCK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Loss, pixels that count and gradients of the four corners, of one cell."""
    cell, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    i, j = cell // width, cell % width
    below, right = tl.minimum(i + 1, height - 1), tl.minimum(j + 1, width - 1)
    k = tl.arange(0, BLOCK)
    is_class = k < classes
    of_image = logits + image * stride_b + k * stride_k
    z00 = tl.load(of_image + i * stride_h + j * stride_w, mask=is_class, other=0.0).to(tl.float32)
    z01 = tl.load(of_image + i * stride_h + right * stride_w, mask=is_class, other=0.0).to(tl.float32)
    z10 = tl.load(of_image + below * stride_h + j * stride_w, mask=is_class, other=0.0).to(tl.float32)
    z11 = tl.load(of_image + below * stride_h + right * stride_w, mask=is_class, other=0.0).to(tl.float32)
    g00, g01, g10, g11 = tl.zeros_like(z00), tl.zeros_like(z00), tl.zeros_like(z00), tl.zeros_like(z00)
    loss = tl.zeros((ROWS * COLUMNS,), tl.float32)
    count = tl.zeros((ROWS * COLUMNS,), tl.float32)
    place = tl.arange(0, ROWS * COLUMNS)
    last_row, last_column = tl.load(row_starts + i + 1), tl.load(column_starts + j + 1)
    for first_row in range(tl.load(row_starts + i), last_row, ROWS):
        for first_column in range(tl.load(column_starts + j), last_column, COLUMNS):
            row, column = first_row + place // COLUMNS, first_column + place % COLUMNS
            is_inside = (row < last_row) & (column < last_column)
            label = tl.load(labels + (image * height_px + row) * width_px + column, mask=is_inside, other=0).to(tl.int32)
            counts = is_inside & (label != ignore_label)
            down = tl.load(row_fractions + row, mask=is_inside, other=0.0)
            along = tl.load(column_fractions + column, mask=is_inside, other=0.0)
            w00, w01 = ((1 - down) * (1 - along))[:, None], ((1 - down) * along)[:, None]
            w10, w11 = (down * (1 - along))[:, None], (down * along)[:, None]
            z = w00 * z00[None, :] + w01 * z01[None, :] + w10 * z10[None, :] + w11 * z11[None, :]
            z = tl.where(is_class[None, :], z, float("-inf"))
            z -= tl.max(z, axis=1)[:, None]
            is_target = k[None, :] == label[:, None]
            exponentials = tl.exp(z)
            total = tl.sum(exponentials, axis=1)
            loss += tl.where(counts, tl.log(total) - tl.sum(tl.where(is_target, z, 0.0), axis=1), 0.0)
            count += counts.to(tl.float32)
            g = tl.where(counts[:, None], exponentials / total[:, None] - is_target.to(tl.float32), 0.0)
            g00 += tl.sum(w00 * g, axis=0)
            g01 += tl.sum(w01 * g, axis=0)
            g10 += tl.sum(w10 * g, axis=0)
            g11 += tl.sum(w11 * g, axis=0)
    if below == i:  # at the edge, a cell's lower corners are its upper ones
        g00 += g10
        g01 += g11
    if right == j:
        g00 += g01
        g10 += g11
    number = image * height * width + cell
    tl.store(sums + number, tl.sum(loss, axis=0))
    tl.store(sums + tl.num_programs(0) * tl.num_programs(1) + number, tl.sum(count, axis=0))
    corner = corners + number * 4 * classes + k
    tl.store(corner, g00, mask=is_class)
    tl.store(corner + classes, g01, mask=is_class)
    tl.store(corner + 2 * classes, g10, mask=is_class)
    tl.store(corner + 3 * classes, g11, mask=is_class)


@triton.jit
def _features(corners, totals, gradient, loss, height, width, classes, BLOCK: tl.constexpr):
    """The gradient of one feature's logits: what the up to four cells around it found."""
    feature, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    i, j = feature // width, feature % width
    k = tl.arange(0, BLOCK)
    is_class = k < classes
    of_image = corners + image * height * width * 4 * classes + k
    total = tl.zeros((BLOCK,), tl.float32)
    for down in tl.static_range(2):
        for along in tl.static_range(2):
            of_cell = of_image + ((i - down) * width + j - along) * 4 * classes + (2 * down + along) * classes
            known = tl.where((i >= down) & (j >= along), classes, 0)
            total += tl.load(of_cell, mask=k < known, other=0.0)
    count = tl.maximum(tl.load(totals + 1), 1.0)
    target = gradient + ((image * classes + k) * height + i) * width + j
    tl.store(target, (total / count).to(gradient.dtype.element_ty), mask=is_class)
    if (feature == 0) & (image == 0):
        tl.store(loss, tl.load(totals) / count)


@lru_cache(maxsize=16)
def _axis(pixels: int, size: int, align_corners: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of a line: the first pixel of each feature and one past the last, (size + 1,); each pixel's way to the next feature."""
    at = torch.arange(pixels, dtype=torch.float64)
    aligned, centred = at * ((size - 1) / max(pixels - 1, 1)), (at + 0.5) * (size / pixels) - 0.5
    source = aligned if align_corners else centred.clamp(min=0)
    feature = source.floor().clamp(max=size - 1)
    starts = torch.searchsorted(feature, torch.arange(size + 1, dtype=torch.float64))
    return starts.to(device, torch.int32), (source - feature).to(device, torch.float32)
