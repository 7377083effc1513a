"""The embedded data set: generated scenes in which a thing's class is decided by a lamp far away from it.

A disc, a square or a triangle looks the same whichever class it is of; what decides is the colour of its lamp, which
stands at a fixed displacement: six features (of 16 pixels) to the right of a disc, nine above a square, six below and
twelve to the left of a triangle. So a cell is as good as what it sees: 1x1 convolutions can only guess, an atrous
convolution of rate 1x6 tells discs apart, one of 9x1 squares, one of 6x12 triangles. Nothing is downloaded.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.datasets.contract import SPLITS, DatasetInfo, Sample, UInt8Array, unknown_split
from data.digests import FileDigests
from data.folds import check_folds

VERSION = 1
"""Of the generator: to be raised with any change to what it draws."""

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Family:
    """Things of one look.

    Attributes:
        lamp_offset_px: (down, right) from a thing to its lamp.
        tint: the material's colour, near grey, 0 to 1.
        grain: texture at (y, x) pixels from the centre, -1 to 1.
        covers: whether a thing of circumradius r covers (y, x) pixels from its centre.
    """

    name: str
    lamp_offset_px: tuple[int, int]
    tint: tuple[float, float, float]
    grain: Callable[[FloatArray, FloatArray], FloatArray]
    covers: Callable[[FloatArray, FloatArray, float], BoolArray]


FAMILIES = (
    Family(
        "disc",
        lamp_offset_px=(0, 96),
        tint=(0.62, 0.58, 0.66),
        grain=lambda y, x: np.sin(np.hypot(y, x) * 0.7),
        covers=lambda y, x, r: np.hypot(y, x) <= 0.9 * r,
    ),
    Family(
        "square",
        lamp_offset_px=(-144, 0),
        tint=(0.58, 0.64, 0.58),
        grain=lambda y, x: np.sin(x * 0.7) * np.sin(y * 0.7),
        covers=lambda y, x, r: np.maximum(abs(y), abs(x)) <= 0.7 * r,
    ),
    Family(
        "triangle",
        lamp_offset_px=(96, -192),
        tint=(0.68, 0.62, 0.56),
        grain=lambda y, x: np.sin((y + x) * 0.5),
        covers=lambda y, x, r: (y <= 0.5 * r) & (abs(x) <= (y + r) / 3**0.5),
    ),
)
LAMP_COLOURS = {"orange": (1.0, 0.55, 0.1), "blue": (0.15, 0.5, 1.0)}

INFO = DatasetInfo(
    name="shapes",
    class_names=("background", *(f"{family.name}, {lamp} lamp" for family in FAMILIES for lamp in LAMP_COLOURS)),
    palette=(  # Okabe and Ito 2008, told apart with any colour vision: warm for orange lamps, cool for blue
        (40, 40, 40),
        (213, 94, 0),
        (0, 114, 178),
        (230, 159, 0),
        (86, 180, 233),
        (240, 228, 66),
        (0, 158, 115),
    ),
)


@dataclass(frozen=True)
class Shapes:
    """Generated scenes of discs, squares and triangles with their lamps.

    Sample i is drawn from (seed, split, i) alone when it is asked for: another ``num_train`` changes no image.
    ``search_train`` and ``search_val`` are ``train`` and ``val``.

    Attributes:
        size_px: side of the square images, 16k + 1 (so that feature i lies on pixel 16i) and at least 321.
        folds: validate a search on parts of train in turn, so many, instead of on val.
    """

    num_train: int = 240
    num_val: int = 60
    size_px: int = 321
    seed: int = 0
    folds: int | None = None

    info = INFO

    def __post_init__(self) -> None:
        check_folds(self.folds)
        for name in ("num_train", "num_val"):
            if getattr(self, name) < 1:
                raise ValueError(f"dataset.{name} must be at least 1, got {getattr(self, name)}.")
        if self.size_px < 321 or self.size_px % 16 != 1:
            raise ValueError(f"dataset.size_px must be a multiple of 16 plus 1, at least 321, got {self.size_px}.")
        if self.seed < 0:
            raise ValueError(f"dataset.seed must be at least 0, got {self.seed}.")

    def split(self, name: str) -> "ShapesSplit":
        """One of ``train``, ``val``, ``search_train``, ``search_val``, ``test``."""
        match name:
            case "train" | "search_train":
                return ShapesSplit("train", self.num_train, self.size_px, [self.seed, 0])
            case "val" | "search_val":
                return ShapesSplit("val", self.num_val, self.size_px, [self.seed, 1])
            case "test":
                return ShapesSplit("test", self.num_val, self.size_px, [self.seed, 2])
        raise unknown_split("shapes", name, (*SPLITS, "test"))


class ShapesSplit:
    """``num_samples`` scenes, each drawn when it is asked for."""

    warnings = ()
    groups = ()

    def __init__(self, name: str, num_samples: int, size_px: int, seed: list[int]) -> None:
        self._name, self._num_samples, self._size_px, self._seed = name, num_samples, size_px, seed

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._num_samples:
            raise IndexError(f"shapes: {self._name} has samples 0 to {self._num_samples - 1}, got {index}.")
        rng = np.random.default_rng([*self._seed, index])
        image_HWC, labels_HW = _paint(_arrange(self._size_px, rng), self._size_px, rng)
        return Sample(f"{self._name}-{index:05d}", image_HWC, labels_HW)

    def extent_px(self) -> tuple[int, int]:
        """All are of one size."""
        return self._size_px, self._size_px

    def image_digests(self, digests: FileDigests) -> Sequence[str]:
        """Of what determines each image."""
        return [_digest(VERSION, self._size_px, self._seed, index) for index in range(self._num_samples)]

    def fingerprint(self, digests: FileDigests) -> str:
        """Digest of what determines the samples: the generator's version and parameters."""
        return _digest(VERSION, self._num_samples, self._size_px, self._seed)


def _digest(*parameters: object) -> str:
    return hashlib.blake2b(repr(parameters).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class _Lamp:
    """A lamp at (y, x) pixels, and the thing it decides, of the same circumradius; a decoy decides nothing."""

    family: Family | None
    colour: int
    y: int
    x: int
    radius: int


PLACEMENT = (2, 1, 0, 2, 1, 0)
"""Families in the order in which things seek room: the farthest lamp first, because it is the hardest to place."""
NUM_DECOYS = 3
RADIUS_PX = (28, 38)
MARGIN_PX = 3
TRIES = 100
NOISE = 18
"""The most by which noise changes a channel of a pixel, of 255."""


def _arrange(size_px: int, rng: np.random.Generator) -> list[_Lamp]:
    """Lamps with their things while there is room, then decoys; nothing overlaps and nothing is cut by the border.

    Half of an image's lamps are of either colour, so counting them tells nothing.
    """
    circles: list[tuple[int, int, int]] = []
    places = []
    for family in [*(FAMILIES[i] for i in PLACEMENT), *[None] * NUM_DECOYS]:
        down, right = family.lamp_offset_px if family else (0, 0)
        radius = int(rng.integers(*RADIUS_PX, endpoint=True))
        found = _find_room(circles, radius, (down, right), size_px, rng)
        if found:
            y, x = found
            circles += [(y, x, radius), (y - down, x - right, radius)]
            places.append((family, y, x, radius))
    colours = (rng.permutation(len(places)) + rng.integers(2)) % 2
    return [_Lamp(family, int(colour), *circle) for (family, *circle), colour in zip(places, colours, strict=True)]


def _find_room(
    circles: Sequence[tuple[int, int, int]],
    radius: int,
    offset_px: tuple[int, int],
    size_px: int,
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """A lamp's (y, x) where it and its thing, ``offset_px`` before it, touch no circle; None where none was found."""
    y, x = (rng.integers(radius + max(0, o), size_px - radius + min(0, o), (TRIES, 1)) for o in offset_px)
    taken_y, taken_x, taken_radius = np.array(circles).reshape(-1, 3).T
    reach = radius + taken_radius + MARGIN_PX
    thing_y, thing_x = y - offset_px[0], x - offset_px[1]
    is_free = (np.hypot(y - taken_y, x - taken_x) > reach) & (np.hypot(thing_y - taken_y, thing_x - taken_x) > reach)
    free = np.flatnonzero(is_free.all(axis=1))
    return (y[free[0]].item(), x[free[0]].item()) if len(free) else None


def _paint(lamps: Sequence[_Lamp], size_px: int, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
    """The image and its labels."""
    image_HWC = _ground(size_px, rng)
    labels_HW = np.zeros((size_px, size_px), np.uint8)
    for lamp in lamps:
        r = lamp.radius
        y, x = np.ogrid[-r : r + 1, -r : r + 1]
        around = _window(lamp.y, lamp.x, r)
        distance = np.hypot(y, x) / r
        _fill(image_HWC[around], distance <= 1, 1 - 0.35 * distance**2, tuple(LAMP_COLOURS.values())[lamp.colour])
        if lamp.family:
            down, right = lamp.family.lamp_offset_px
            around = _window(lamp.y - down, lamp.x - right, r)
            covered = lamp.family.covers(y, x, r)
            shade = rng.uniform(0.85, 1.15) * (1 + 0.18 * lamp.family.grain(y, x))
            _fill(image_HWC[around], covered, shade, lamp.family.tint)
            labels_HW[around][covered] = 1 + len(LAMP_COLOURS) * FAMILIES.index(lamp.family) + lamp.colour
    image_HWC *= 255 * rng.uniform(0.8, 1.1)
    image_HWC += rng.integers(-NOISE, NOISE, image_HWC.shape, np.int8, endpoint=True)
    return image_HWC.clip(0, 255).astype(np.uint8), labels_HW


def _ground(size_px: int, rng: np.random.Generator) -> FloatArray:
    """Dark ground with soft patches, (size_px, size_px, 3)."""
    knots = np.arange(9)
    weights = np.maximum(0, 1 - abs(np.linspace(0, knots[-1], size_px)[:, None] - knots)).astype(np.float32)
    patches_HW = weights @ rng.uniform(0.16, 0.36, (len(knots), len(knots))).astype(np.float32) @ weights.T
    return patches_HW[..., None] * rng.uniform(0.85, 1.15, 3).astype(np.float32)


def _window(y: int, x: int, radius: int) -> tuple[slice, slice]:
    return slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)


def _fill(window_HWC: FloatArray, covered: BoolArray, shade: FloatArray, colour: tuple[float, float, float]) -> None:
    window_HWC[covered] = shade[covered, None] * np.array(colour)
