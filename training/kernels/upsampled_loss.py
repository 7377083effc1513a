"""Upsampling and cross entropy as Triton kernels: loss and gradient, without full-resolution logits.

The pixels between four neighbouring features share these as the corners of their cell. A thread takes one column of pixels of
one cell and walks down it: of each class it keeps the column's upper logit, the slope to the lower one, and their gradients
so far, so that a pixel needs no other thread. At the end the columns of a cell add up what they found, and a second
kernel adds up the cells around a feature. No atomics: the same input gives the same bits.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

_CLASSES_A_THREAD = 24
"""Five registers each. Beyond, neighbouring threads share the classes of a column."""
_THREADS = 32
"""Of a program. One warp waits for no other, and few columns are idle where a line ends."""
_SIZES = ("height", "width", "height_px", "width_px", "num_groups", "most_groups", "num_sums", "elements", "ignore_label")
"""Arguments whose values compile no kernel anew."""
_ELEMENTS = 512
"""Of the gradient, that a program of the second kernel adds up."""


def loss_and_gradient(
    logits_BKhw: Tensor,
    labels_BHW: Tensor,
    ignore_label: int,
    class_weights_K: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of the bilinearly upsampled logits over the pixels that count, and its gradient.

    Nothing waits for the device, and two kernels are launched.

    Args:
        logits_BKhw: any float type and strides.
        labels_BHW: uint8; pixels equal to ``ignore_label`` do not count.
        class_weights_K, label_smoothing: as in ``F.cross_entropy``; float32.

    Returns:
        The loss, float32, 0 where no pixel counts; the gradient of the logits, of their type and layout.
    """
    batch, classes, height, width = logits_BKhw.shape
    labels_BHW = labels_BHW.contiguous()
    device = logits_BKhw.device
    split = triton.next_power_of_2(triton.cdiv(classes, _CLASSES_A_THREAD))
    columns = min(16, max(4, 32 // split))  # 16 is the distance of two features at output stride 16, 32 a warp
    groups = max(1, _THREADS // (columns * split))
    rows, across = (
        _line(pixels, size, columns, device) for pixels, size in zip(labels_BHW.shape[1:], (height, width), strict=True)
    )
    num_groups = len(across.group_cells)
    programs = (height, triton.cdiv(num_groups, groups), batch)
    sums_2N = torch.empty((2, programs[0] * programs[1] * batch), dtype=torch.float32, device=device)
    corners_BhK4G = torch.empty((batch, height, classes, 4, num_groups), dtype=torch.float32, device=device)
    is_weighted = class_weights_K is not None
    weights_K = class_weights_K if is_weighted else sums_2N  # which is not read then
    _walk[programs](
        logits_BKhw, *logits_BKhw.stride(), labels_BHW, rows.starts, rows.fractions,
        across.group_cells, across.group_starts, across.group_stops, across.fractions, sums_2N, corners_BhK4G,
        height, width, *labels_BHW.shape[1:], num_groups, ignore_label, weights_K, label_smoothing,
        WEIGHTED=is_weighted, SMOOTHED=label_smoothing > 0, CLASSES=classes, SPLIT=split, COLUMNS=columns, GROUPS=groups,
        num_warps=triton.cdiv(columns * split * groups, 32),
    )  # fmt: skip
    gradient_BKhw = torch.empty_like(logits_BKhw)
    loss = torch.empty((), dtype=torch.float32, device=device)
    _around_features[(triton.cdiv(gradient_BKhw.numel(), _ELEMENTS),)](
        corners_BhK4G, sums_2N, across.cell_groups, gradient_BKhw, *gradient_BKhw.stride(), loss, gradient_BKhw.numel(),
        height, width, num_groups, across.most_groups, sums_2N.shape[1], CLASSES=classes, ELEMENTS=_ELEMENTS,
    )  # fmt: skip
    return loss, gradient_BKhw


@triton.jit
def _between(of_image, left, right, k, stride_k, along, CLASSES: tl.constexpr):
    """A class's logits on a line of features, interpolated, for powers of two; a class that does not exist is never likely."""
    a = tl.load(of_image + left + k * stride_k, mask=k < CLASSES, other=-1e30).to(tl.float32)
    b = tl.load(of_image + right + k * stride_k, mask=k < CLASSES, other=-1e30).to(tl.float32)
    return (a + along * (b - a)) * 1.4426950408889634


@triton.jit(do_not_specialize=_SIZES)
def _walk(  # noqa: PLR0915
    logits, stride_b, stride_k, stride_h, stride_w, labels, row_starts, row_fractions,
    group_cells, group_starts, group_stops, column_fractions, sums, corners,
    height, width, height_px, width_px, num_groups, ignore_label, class_weights, smoothing,
    WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr, CLASSES: tl.constexpr, SPLIT: tl.constexpr, COLUMNS: tl.constexpr,
    GROUPS: tl.constexpr,
):  # fmt: skip
    """Loss, pixels that count and gradients of the four corners, of some groups of columns of one row of cells.

    Tensors are (group, column, part of the classes); class k belongs to part k % SPLIT. A pixel weighs as much as its class;
    smoothing spreads a part of its target over all classes.
    """
    PART: tl.constexpr = (CLASSES + SPLIT - 1) // SPLIT
    i, image = tl.program_id(0), tl.program_id(2).to(tl.int64)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)[:, None, None]
    position = tl.arange(0, COLUMNS)[None, :, None]
    part = tl.arange(0, SPLIT)[None, None, :]
    is_group = group < num_groups
    zero = tl.zeros((GROUPS, COLUMNS, SPLIT), tl.float32)
    column = tl.load(group_starts + group, mask=is_group, other=0) + position + zero.to(tl.int32)
    is_inside = column < tl.load(group_stops + group, mask=is_group, other=0)
    along = tl.load(column_fractions + column, mask=is_inside, other=0.0)
    j = tl.load(group_cells + group, mask=is_group, other=0)
    left, right = j * stride_w, tl.minimum(j + 1, width - 1) * stride_w
    above = logits + image * stride_b + i * stride_h
    below = logits + image * stride_b + tl.minimum(i + 1, height - 1) * stride_h
    tops, slopes, uppers, lowers, spreads, spread = (), (), (), (), (), zero
    for n in tl.static_range(PART):
        if SMOOTHED:
            exists = n * SPLIT + part + zero.to(tl.int32) < CLASSES
            to_class = tl.where(exists, smoothing / CLASSES, 0.0)
            if WEIGHTED:
                to_class *= tl.load(class_weights + n * SPLIT + part + zero.to(tl.int32), mask=exists, other=0.0)
            spreads = spreads + (to_class,)
            spread += to_class
        top = _between(above, left, right, n * SPLIT + part, stride_k, along, CLASSES)
        tops = tops + (top,)
        slopes = slopes + (_between(below, left, right, n * SPLIT + part, stride_k, along, CLASSES) - top,)
        uppers = uppers + (zero,)
        lowers = lowers + (zero,)
    spread = tl.sum(spread, axis=2, keep_dims=True)
    loss, count = zero, zero
    first_row, last_row = tl.load(row_starts + i), tl.load(row_starts + i + 1)
    stop_row = tl.where(is_inside, last_row, 0)
    of_column = labels + image * height_px * width_px + column
    next_label = tl.load(of_column + first_row * width_px, mask=first_row < stop_row, other=0).to(tl.int32)
    for row in range(first_row, last_row):
        label = next_label  # on its way since the row before
        next_label = tl.load(of_column + (row + 1) * width_px, mask=row + 1 < stop_row, other=0).to(tl.int32)
        down = tl.load(row_fractions + row)
        counts = is_inside & (label != ignore_label)
        label = tl.where(counts, label, -1)
        weight = tl.where(counts, 1.0, 0.0)
        if WEIGHTED:
            weight = tl.load(class_weights + label, mask=counts, other=0.0)
        count += weight
        told = weight * (1.0 - smoothing) if SMOOTHED else weight
        to_lower, to_upper = told * down, told * (1.0 - down)
        shifted, largest = (), tops[0] + down * slopes[0]
        for n in tl.static_range(PART):
            z = tops[n] + down * slopes[n]
            largest = tl.maximum(largest, z)
            shifted = shifted + (z,)
        largest = tl.max(largest, axis=2, keep_dims=True)
        powers, total, target = (), zero, zero  # the target's logits, each with its share
        minus_target_uppers, minus_target_lowers = (), ()
        for n in tl.static_range(PART):
            z = shifted[n] - largest
            power = tl.exp2(z)
            powers = powers + (power,)
            total += power
            is_target = label == n * SPLIT + part
            target = tl.where(is_target, target + told * z, target)
            upper = tl.where(is_target, uppers[n] - to_upper, uppers[n])
            lower = tl.where(is_target, lowers[n] - to_lower, lowers[n])
            if SMOOTHED:
                target += tl.where(counts, spreads[n] * z, 0.0)
                upper -= tl.where(counts, spreads[n] * (1.0 - down), 0.0)
                lower -= tl.where(counts, spreads[n] * down, 0.0)
            minus_target_uppers = minus_target_uppers + (upper,)
            minus_target_lowers = minus_target_lowers + (lower,)
        total = tl.sum(total, axis=2, keep_dims=True)
        of_all = told + tl.where(counts, spread, 0.0) if SMOOTHED else told
        loss += of_all * tl.log2(total) - tl.sum(target, axis=2, keep_dims=True)
        to_lower, to_upper = of_all * down / total, of_all * (1.0 - down) / total
        uppers, lowers = (), ()
        for n in tl.static_range(PART):
            uppers = uppers + (minus_target_uppers[n] + to_upper * powers[n],)
            lowers = lowers + (minus_target_lowers[n] + to_lower * powers[n],)
    QUARTER: tl.constexpr = COLUMNS // 4
    is_there = is_group & (position % QUARTER == 0)
    for n in tl.static_range(PART):
        k = n * SPLIT + part
        place = (((image * height + i) * CLASSES + k) * 4 + position // QUARTER) * num_groups + group
        tl.store(corners + place, _at_corners(uppers[n], lowers[n], along), mask=is_there & (k < CLASSES))
    number = (image * height + i) * tl.num_programs(1) + tl.program_id(1)
    of_counts = sums + tl.num_programs(0) * tl.num_programs(1) * tl.num_programs(2)
    tl.store(sums + number, tl.sum(tl.where(part == 0, loss, 0.0)) * 0.6931471805599453)
    tl.store(of_counts + number, tl.sum(tl.where(part == 0, count, 0.0)))


@triton.jit
def _at_corners(upper, lower, along):
    """Sums over a group's columns, one in each quarter: for the corner above left, above right, below left, below right.

    After half of the way each quarter of the threads goes on with one sum alone: 10 exchanges between threads and not 16.
    """
    quarter = tl.arange(0, 4)[None, :, None, None]
    upper_right, lower_right = along * upper, along * lower
    left = tl.where(quarter == 0, _across_quarters(upper - upper_right), _across_quarters(lower - lower_right))
    right = tl.where(quarter == 1, _across_quarters(upper_right), _across_quarters(lower_right))
    mine = tl.where(quarter % 2 == 0, left, right)
    sums = tl.broadcast_to(tl.sum(mine, axis=2, keep_dims=True), mine.shape)
    return tl.reshape(sums, upper.shape)


@triton.jit
def _across_quarters(values):
    """Columns as (quarter, column of it), summed over quarters."""
    quarters = tl.reshape(values, (values.shape[0], 4, values.shape[1] // 4, values.shape[2]))
    return tl.sum(quarters, axis=1, keep_dims=True)


@triton.jit(do_not_specialize=_SIZES)
def _around_features(
    corners, sums, cell_groups, gradient, stride_b, stride_k, stride_h, stride_w, loss, elements, height, width,
    num_groups, most_groups, num_sums, CLASSES: tl.constexpr, ELEMENTS: tl.constexpr,
):  # fmt: skip
    """The gradient of features' logits: what the up to four cells around each found, over the pixels that count."""
    total_loss = tl.zeros((ELEMENTS,), tl.float32)
    total_count = tl.zeros((ELEMENTS,), tl.float32)
    for first in range(0, num_sums, ELEMENTS):
        place = first + tl.arange(0, ELEMENTS)
        total_loss += tl.load(sums + place, mask=place < num_sums, other=0.0)
        total_count += tl.load(sums + num_sums + place, mask=place < num_sums, other=0.0)
    count = tl.sum(total_count)
    count = tl.where(count > 0, count, 1.0)
    element = tl.program_id(0) * ELEMENTS + tl.arange(0, ELEMENTS)
    is_element = element < elements
    j, i = element % width, element // width % height
    k, image = element // (width * height) % CLASSES, (element // (width * height * CLASSES)).to(tl.int64)
    total = tl.zeros((ELEMENTS,), tl.float32)
    for along in tl.static_range(2):
        is_cell = is_element & (j >= along)
        first = tl.load(cell_groups + j - along, mask=is_cell, other=0)
        stop = tl.load(cell_groups + j - along + 1, mask=is_cell, other=0)
        for down in tl.static_range(2):
            of_corner = (((image * height + i - down) * CLASSES + k) * 4 + 2 * down + along) * num_groups
            for n in range(most_groups):
                is_there = (first + n < stop) & (i >= down)
                total += tl.load(corners + of_corner + first + n, mask=is_there, other=0.0)
    target = gradient + image * stride_b + k * stride_k + i * stride_h + j * stride_w
    tl.store(target, (total / count).to(gradient.dtype.element_ty), mask=is_element)
    if tl.program_id(0) == 0:
        tl.store(loss, tl.sum(total_loss) / count)


@dataclass(frozen=True)
class _Line:
    """How the pixels of a line lie between its features.

    Attributes:
        starts: the first pixel of each feature's cell and one past the last, (size + 1,).
        fractions: each pixel's way to the next feature; 0 beyond the last one, which has none.
        group_starts: the first pixel of each group of neighbours in one cell.
        group_stops: one past its last.
        group_cells: its cell.
        cell_groups: the first group of each cell and one past the last, (size + 1,).
        most_groups: of any cell.
    """

    starts: Tensor
    fractions: Tensor
    group_starts: Tensor
    group_stops: Tensor
    group_cells: Tensor
    cell_groups: Tensor
    most_groups: int


@lru_cache(maxsize=16)
def _line(pixels: int, size: int, group_px: int, device: torch.device) -> _Line:
    at = np.arange(pixels)
    source = at * ((size - 1) / max(pixels - 1, 1))
    feature = np.floor(source).clip(max=size - 1)
    fractions = np.where(feature < size - 1, source - feature, 0)
    starts = np.searchsorted(feature, np.arange(size + 1))
    groups = -(-np.diff(starts) // group_px)
    cells = np.repeat(np.arange(size), groups)
    cell_groups = np.concatenate([[0], groups.cumsum()])
    group_starts = starts[cells] + group_px * (np.arange(len(cells)) - cell_groups[cells])
    group_stops = np.minimum(group_starts + group_px, starts[cells + 1])
    numbers = (starts, group_starts, group_stops, cells, cell_groups)
    of_cells, of_starts, of_stops, of_groups, of_firsts = (torch.from_numpy(of).to(device, torch.int32) for of in numbers)
    to_next = torch.from_numpy(fractions).to(device, torch.float32)
    return _Line(of_cells, to_next, of_starts, of_stops, of_groups, of_firsts, int(groups.max()))
