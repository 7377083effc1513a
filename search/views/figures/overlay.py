"""Predicted labels as a picture: over their image, with a legend."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.datasets.contract import UInt8Array, colorize
from data.system.files import whole_file
from search.views.figures.fonts import font_file, spelt
from search.views.figures.style import GREY, INK

Palette = Sequence[tuple[int, int, int]]

STRIP_ROWS = 512
"""Rows that are blended at once: of an image of 89 megapixels, all at once in floats would take gigabytes."""


def draw_overlay(
    image_HWC: UInt8Array, labels_HW: UInt8Array, palette: Palette, class_names: Sequence[str], opacity: float
) -> Image.Image:
    """The image under its labels' colours, and below it the classes that occur with their shares."""
    blended_HWC = painted(image_HWC, labels_HW, palette, opacity)
    height_px, width_px = labels_HW.shape
    pixels_K = np.bincount(labels_HW.ravel(), minlength=len(class_names))
    entries = [
        (colour, f"{name} {100 * pixels / labels_HW.size:.1f} %")
        for colour, name, pixels in zip(palette, class_names, pixels_K.tolist(), strict=True)
        if pixels
    ]
    legend = _legend(entries, width_px)
    whole = Image.new("RGB", (max(width_px, legend.width), height_px + legend.height), "white")
    whole.paste(Image.fromarray(blended_HWC), (0, 0))
    whole.paste(legend, (0, height_px))
    return whole


def painted(image_HWC: UInt8Array, labels_HW: UInt8Array, palette: Palette, opacity: float) -> UInt8Array:
    """The image under its labels' colours, pixel by pixel. Black, which stands for a background, is not painted: it would
    darken most of a photo to say what its absence says as well."""
    blended_HWC = image_HWC.copy()
    for top in range(0, len(image_HWC), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        colours_HWC = colorize(labels_HW[rows], palette)
        is_painted_HW1 = colours_HWC.any(axis=2, keepdims=True)
        mixed_HWC = ((1 - opacity) * image_HWC[rows] + opacity * colours_HWC).round().astype(np.uint8)
        np.copyto(blended_HWC[rows], mixed_HWC, where=is_painted_HW1)
    return blended_HWC


def save_png(picture: Image.Image, path: Path) -> None:
    """Write the file whole or not at all, and the folders above it."""
    with whole_file(path) as partial:
        picture.save(partial, format="PNG", compress_level=3)


def _legend(entries: Sequence[tuple[tuple[int, int, int], str]], width_px: int) -> Image.Image:
    """Colours and texts in as many columns as fit, in letters that suit the image's size."""
    size = min(64, max(12, width_px // 60))
    font = ImageFont.truetype(font_file("".join(text for _, text in entries)), size)
    entries = [(colour, spelt(text)) for colour, text in entries]
    gap, line = size // 2, 2 * size
    column_px = max(2 * gap + size + int(font.getlength(text)) + gap for _, text in entries)
    columns = min(len(entries), max(1, width_px // column_px))
    rows = -(-len(entries) // columns)
    legend = Image.new("RGB", (columns * column_px, rows * line + gap), "white")
    draw = ImageDraw.Draw(legend)
    for place, (colour, text) in enumerate(entries):
        left, top = place // rows * column_px + gap, place % rows * line + gap
        draw.rectangle((left, top, left + size, top + size), fill=colour, outline=GREY)
        draw.text((left + size + gap, top + size / 2), text, fill=INK, font=font, anchor="lm")
    return legend
