"""Samples of a data set with their labels, for a person to see whether they belong together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from data.datasets.contract import DatasetError, DatasetInfo, Sample, SegmentationDataset, Split
from data.datasets.palette import Color
from search.views.figures.overlay import painted
from search.views.figures.style import DPI, GREY, save_figure

COLUMNS = 4
OPACITY = 0.6
FREE: tuple[Color, ...] = ((255, 255, 255), (255, 0, 255), (128, 128, 128))
"""Colours of ignored pixels: the first that is no class's, or else the first."""
LEGEND_COLUMNS = 6


def draw_contact_sheet(dataset: SegmentationDataset, split_names: Sequence[str], samples: int, path: Path) -> None:
    """Draw ``samples`` of each split, spread evenly: the image, and below it the image under its labels' colours.

    A sample that cannot be read is an empty frame with the reason.
    """
    shown = [tile for name in split_names for tile in _spread(dataset.split(name), name, samples)]
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS, 4.2 * rows + 0.6), dpi=DPI / 2, layout="constrained")
    all_axes = figure.subplots(2 * rows, COLUMNS, squeeze=False)
    for axes in all_axes.flat:
        axes.set_axis_off()
    for place, (title, sample) in enumerate(shown):
        row, column = 2 * (place // COLUMNS), place % COLUMNS
        _draw(all_axes[row, column], all_axes[row + 1, column], title, sample, dataset.info)
    handles = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*colour), edgecolor=GREY, label=name)
        for name, colour in zip(
            (*dataset.info.class_names, "ignored"), (*dataset.info.palette, _of_ignored(dataset.info)), strict=True
        )
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, fontsize=8, frameon=False)
    save_figure(figure, path)


def _of_ignored(info: DatasetInfo) -> Color:
    return next((colour for colour in FREE if colour not in map(tuple, info.palette)), FREE[0])


def _spread(split: Split, name: str, samples: int) -> Iterator[tuple[str, Sample | DatasetError]]:
    for index in np.unique(np.linspace(0, len(split) - 1, samples).round().astype(int)).tolist():
        try:
            sample = split[index]
            yield f"{name}: {sample.name}", sample
        except DatasetError as error:
            yield f"{name}: #{index}", error


def _draw(above: Axes, below: Axes, title: str, sample: Sample | DatasetError, info: DatasetInfo) -> None:
    above.set_title(title, fontsize=7, parse_math=False)
    if isinstance(sample, DatasetError):
        above.text(0.5, 0.5, sample.kind, transform=above.transAxes, ha="center", color=GREY)
        return
    step = max(1, max(sample.labels_HW.shape) // 500)
    image_HWC, labels_HW = sample.image_HWC[::step, ::step], sample.labels_HW[::step, ::step]
    below_HWC = painted(image_HWC, labels_HW, info.palette, OPACITY)
    is_ignored_HW = labels_HW == info.ignore_label
    below_HWC[is_ignored_HW] = ((1 - OPACITY) * image_HWC[is_ignored_HW] + OPACITY * np.array(_of_ignored(info))).round()
    above.imshow(image_HWC)
    below.imshow(below_HWC)
