"""Label files, read as the values or colours that they hold, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from data.datasets.contract import LabelFormatError, UInt8Array
from data.datasets.image_files import EIGHT_BITS, decoded, is_deep, is_signed, largest_grey, opened, raw_mode, stored_as

_BLURRED = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")
"""Compressions of TIFF that do not give back what was stored."""


def read_label_image(path: Path, upright: bool = False) -> UInt8Array:
    """A label map's values (H, W): grey levels as they are stored, or indices into a palette.

    Raises:
        UnreadableError: it is no image.
        LabelFormatError: it is an image whose values are no class ids.
    """
    with opened(path) as image:
        _refuse_changed(image, path)
        largest = largest_grey(image)
        labels = decoded(image, path, upright=upright)
        if labels.ndim != 2 or labels.dtype.itemsize != 1:
            raise LabelFormatError(
                f"{path}: labels must be one channel of 8-bit class ids, got shape {labels.shape} of {labels.dtype}"
                f"{_grey_or_colours(labels)}."
            )
        if largest < 255:  # Pillow scales to 255 what is stored in fewer bits
            labels = np.rint(labels * (largest / 255))
        return labels.astype(np.uint8, copy=False)


def read_label_colors(path: Path, upright: bool = False) -> UInt8Array:
    """A label map's colours (H, W, 3); transparency is left out.

    Raises:
        As ``read_label_image``.
    """
    with opened(path) as image:
        if is_deep(image) or image.mode not in EIGHT_BITS:
            raise LabelFormatError(f"{path}: labels must be colours of 8 bits per channel, got {stored_as(image)}.")
        _refuse_changed(image, path)
        return decoded(image, path, "RGB", upright)


def _refuse_changed(image: ImageFile, path: Path) -> None:
    """Refuse what does not give back the values that were stored."""
    if image.format in ("JPEG", "MPO", "WEBP") or image.info.get("compression") in _BLURRED:
        raise LabelFormatError(f"{path}: labels must be PNG; {image.format} blurs class ids.")
    is_white_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0
    if is_white_zero or raw_mode(image) == "1;I":
        raise LabelFormatError(f"{path}: labels must be PNG; this {image.format} has its values stored inverted.")
    if is_signed(image):
        raise LabelFormatError(f"{path}: labels must be one channel of 8-bit class ids, got signed values.")


def _grey_or_colours(labels: npt.NDArray[Any]) -> str:
    if labels.dtype != np.uint8 or labels.ndim != 3 or labels.shape[2] not in (3, 4):
        return ""
    if (labels[..., :1] == labels[..., :3]).all():
        return "; red, green and blue are equal: save one of them"
    return "; are they colours? dataset=folder reads these by dataset.colors, or by a classes.txt that has them"
