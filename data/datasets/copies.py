"""Copies of an image that its bytes do not show: encoded again, or resized."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.datasets.contract import UInt8Array

SIDE = 16
"""Pixels of a thumbnail's side."""
ALIKE = 1.5
"""Grey levels, of 255, by which thumbnails of copies differ at most, as a root mean square. CamVid's images differ by 0.9 from
JPEGs of them at quality 30 and from halved ones, and by 3.6 from the next frame."""
FLAT = 8.0
"""Thumbnails with a smaller standard deviation, in grey levels, are those of any dark or blank image."""
_ROWS = 1024


def thumbnail(image_HWC: UInt8Array) -> bytes:
    """What stays of an image however it is encoded: the mean greys of ``SIDE`` x ``SIDE`` parts."""
    return Image.fromarray(image_HWC).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def copies(one: Sequence[bytes], other: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of thumbnails that are alike, by their places; each of ``one`` with the most alike of ``other``."""
    if not (one and other):
        return
    ones_NP, others_MP = _centred(one), _centred(other)
    squares_M = np.square(others_MP).sum(axis=1)
    for start in range(0, len(one), _ROWS):
        rows_RP = ones_NP[start : start + _ROWS]
        nearest_R = (squares_M - 2 * rows_RP @ others_MP.T).argmin(axis=1)
        distance_R = np.sqrt(np.square(rows_RP - others_MP[nearest_R]).mean(axis=1))
        for row in np.flatnonzero((distance_R <= ALIKE) & (rows_RP.std(axis=1) >= FLAT)):
            yield start + int(row), int(nearest_R[row])


def _centred(thumbnails: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """Around 0, where single precision is finest."""
    return np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, SIDE * SIDE).astype(np.float32) - 128
