"""What a model in training makes of one image."""

from PIL import Image

from data.datasets.contract import UInt8Array, colorize
from search.views.figures.overlay import Palette
from search.views.figures.style import GREY

MOST_PX = 640
"""Width of each part: to look at, not to measure."""
GAP_PX = 8
IGNORED = (128, 128, 128)
"""Colour of pixels that do not count."""


def draw_prediction(
    image_HWC: UInt8Array, labels_HW: UInt8Array, predicted_HW: UInt8Array, palette: Palette, ignore_label: int
) -> Image.Image:
    """An image, its labels, and what was predicted, side by side in the classes' colours."""
    colours_HWC = colorize(labels_HW, palette)
    colours_HWC[labels_HW == ignore_label] = IGNORED
    height_px, width_px = labels_HW.shape
    size = min(width_px, MOST_PX), round(height_px * min(1.0, MOST_PX / width_px))
    parts = [Image.fromarray(part_HWC) for part_HWC in (image_HWC, colours_HWC, colorize(predicted_HW, palette))]
    whole = Image.new("RGB", (3 * size[0] + 2 * GAP_PX, size[1]), GREY)
    for place, part in enumerate(parts):
        how = Image.Resampling.BILINEAR if place == 0 else Image.Resampling.NEAREST
        whole.paste(part.resize(size, how), (place * (size[0] + GAP_PX), 0))
    return whole
