"""Colours of classes: for those that come without, as far apart as their number allows, for colour-blind readers too."""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

Floats = npt.NDArray[np.float64]

_STEPS = range(0, 256, 17)
_DARKEST, _LIGHTEST = 0.35, 0.93
"""Lightness in OKLab: darker hides a photo, lighter is too near to white, which is ignored."""
_FIRST: Color = (0, 114, 178)

# Machado, Oliveira and Fernandes (2009), table 1, severity 1.0, on linear RGB: what prot-, deuter- and tritanopes see.
_SEEN: Floats = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
# Ottosson (2020), OKLab: linear RGB to cones, and their cube roots to lightness and two opponents.
_CONES: Floats = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OPPONENTS: Floats = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@cache
def distinct_palette(num_classes: int) -> tuple[Color, ...]:
    """So many colours, each as far from those before as can be: a class keeps its colour whatever follows."""
    candidates = [(red, green, blue) for red, green, blue in product(_STEPS, repeat=3)]
    seen = _as_seen(candidates)
    candidates = [one for one, light in zip(candidates, seen[0, :, 0], strict=True) if _DARKEST <= light <= _LIGHTEST]
    seen, chosen = _as_seen(candidates), [_FIRST]
    nearest = _differences(seen, _as_seen(chosen))[:, 0]
    while len(chosen) < num_classes:
        place = int(nearest.argmax())
        chosen.append(candidates[place])
        nearest = np.minimum(nearest, _differences(seen, seen[:, place : place + 1])[:, 0])
    return tuple(chosen[:num_classes])


def palette_image(labels_HW: npt.NDArray[np.uint8], palette: Sequence[Color]) -> Image.Image:
    """Labels whose pixel values are class ids; viewers show them in the colours of ``palette``."""
    picture = Image.fromarray(labels_HW).convert("L")
    picture.putpalette([channel for colour in palette for channel in colour])
    return picture


def least_difference(colours: Sequence[Color]) -> float:
    """Between any two of ``colours``, for the reader who tells them apart least; 1 is about black and white."""
    seen = _as_seen(colours)
    between = _differences(seen, seen)
    return float(between[np.triu_indices(len(colours), 1)].min())


def _as_seen(colours: Sequence[Color]) -> Floats:
    """OKLab (reader, colour, 3)."""
    parts = np.asarray(colours, dtype=float) / 255
    linear_C3 = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    seen_RC3 = np.clip(linear_C3 @ _SEEN.transpose(0, 2, 1), 0, 1)
    lab: Floats = np.cbrt(seen_RC3 @ _CONES.T) @ _OPPONENTS.T
    return lab


def _differences(seen: Floats, others: Floats) -> Floats:
    """Of each colour from each of ``others``: to the reader who sees least of it."""
    least: Floats = np.linalg.norm(seen[:, :, None] - others[:, None], axis=-1).min(0)
    return least
