"""SBD's label maps: MATLAB files, read without trust in what they hold."""

import zlib
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np

from data.datasets.contract import LabelFormatError, UInt8Array, UnreadableError
from data.datasets.image_files import regular_file
from data.datasets.label_files import read_label_image

MAX_BYTES = 1 << 20
"""Of a file; SBD's largest is 80 kB."""
MAX_UNPACKED_BYTES = 1 << 24
"""Of what it holds: a compressed file may claim a thousand times as much as its own size."""
_HEADER_BYTES, _TAG_BYTES = 128, 8
_COMPRESSED = 15


def read_voc_labels(path: Path) -> UInt8Array:
    """VOC's PNG or SBD's MATLAB file as class ids (H, W).

    Raises:
        UnreadableError: it is neither, or unpacks to more than labels can be.
        LabelFormatError: its values are no class ids.
    """
    if path.suffix != ".mat":
        return read_label_image(path)
    from scipy.io import loadmat

    try:
        if regular_file(path).stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
        _refuse_bomb(content)
        labels = np.asarray(loadmat(BytesIO(content), variable_names=["GTcls"])["GTcls"][0]["Segmentation"][0])
    except Exception as error:  # scipy's reader raises many kinds on damaged files
        raise UnreadableError(f"{path}: cannot be read as labels of SBD ({error}).") from error
    if labels.ndim != 2 or labels.dtype.kind not in "uif":
        raise LabelFormatError(f"{path}: labels must be a matrix of class ids, got shape {labels.shape} of {labels.dtype}.")
    labels_HW = np.nan_to_num(labels, nan=-1).clip(0, 255).astype(np.uint8)
    if not np.array_equal(labels_HW, labels):
        wrong = labels[labels_HW != labels][0]
        raise LabelFormatError(f"{path}: labels must be whole numbers from 0 to 255, got {wrong}.")
    return labels_HW


def _refuse_bomb(content: bytes) -> None:
    """Unpack each element of the file's top level, without keeping it."""
    order: Literal["little", "big"] = "little" if content[126:128] == b"IM" else "big"
    place, total = _HEADER_BYTES, 0
    while place + _TAG_BYTES <= len(content):
        kind, size = (int.from_bytes(content[start : start + 4], order) for start in (place, place + 4))
        place += _TAG_BYTES
        if kind == _COMPRESSED:
            total += len(zlib.decompressobj().decompress(content[place : place + size], MAX_UNPACKED_BYTES + 1))
        if total > MAX_UNPACKED_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
        place += size
