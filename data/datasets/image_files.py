"""Image files, read without trust in what they hold."""

import stat
import struct
import warnings
from dataclasses import dataclass, field
from glob import iglob
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from data.datasets.contract import UInt8Array, UnreadableError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
"""Of images. Pillow would also open formats that run other programs (EPS)."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
"""Of image files."""
MEGA = 1_000_000
MOST_PX = 89 * MEGA
"""Of an image, about as Pillow has it: a file of a few bytes may claim to hold more than any memory."""
EIGHT_BITS = ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "YCbCr")
"""Pillow's modes that become RGB."""
_SIGNED = 2
"""A sample format of TIFF."""
_MASK = 4
"""A bit of TIFF's kinds of page: which pixels of another page count."""
_TIFF = (b"II*\0", b"MM\0*")
"""How such a file begins."""
OTHER_TIFF = (
    "it is damaged, or a TIFF of a layout that is not read: save it as grey or RGB, of 8 or 16 bits or of 32-bit "
    "floating-point values"
)
_SIDEWAYS = (5, 6, 7, 8)
"""Values of EXIF's orientation that exchange height and width."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # what it tells is refused here


@dataclass(frozen=True, slots=True)
class ImageReading:
    """How a data set's images are read.

    Attributes:
        upright: turn images, and label maps, as their EXIF orientation says; else they are read as they are stored.
        value_range: the values that become black and white, for files of more than 8 bits per channel; None refuses these.
        range_setting: what a person gives them by.
    """

    upright: bool = False
    value_range: tuple[float, float] | None = None
    range_setting: str = field(default="dataset.value_range", repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.value_range is not None and not (len(self.value_range) == 2 and self.value_range[0] < self.value_range[1]):
            raise ValueError(
                f"{self.range_setting} must be two values, of black and of white, such as [0,4095], got {self.value_range}."
            )


AS_STORED = ImageReading()


def read_image(path: Path, reading: ImageReading = AS_STORED, most_px: int = MOST_PX) -> tuple[UInt8Array, int]:
    """An image file as RGB (H, W, 3), and its EXIF orientation, 1 where there is none; transparency is left out.

    Raises:
        UnreadableError: it is none, has more than ``most_px`` pixels, or more than 8 bits per channel where ``reading`` has no
            range for these.
    """
    with opened(path, most_px) as image:
        if is_deep(image):
            if reading.value_range is None:
                raise UnreadableError(
                    f"{path}: cannot be read as an image of 8 bits per channel (it holds {stored_as(image)}); "
                    f"{'dataset=folder reads it with ' if reading.range_setting.startswith('dataset.') else 'give '}"
                    f"{reading.range_setting}=[black,white]."
                )
            image_HWC, orientation = _scaled(path, reading.value_range), _orientation(image)
            return (_turned(image_HWC, orientation) if reading.upright else image_HWC), orientation
        if reading.value_range is not None:
            raise UnreadableError(
                f"{path}: cannot be read by {reading.range_setting}, which is for more than 8 bits per channel."
            )
        if image.mode not in EIGHT_BITS:
            raise UnreadableError(f"{path}: cannot be read as an image of 8 bits per channel (it holds {stored_as(image)}).")
        return decoded(image, path, "RGB", reading.upright), _orientation(image)


def size_px(path: Path, reading: ImageReading = AS_STORED) -> tuple[int, int]:
    """Height and width; only the file's header is read."""
    with opened(path) as image:
        is_sideways = reading.upright and _orientation(image) in _SIDEWAYS
        return (image.width, image.height) if is_sideways else (image.height, image.width)


def regular_file(path: Path) -> Path:
    """``path`` if it is a file: a pipe would be waited for without end.

    Raises:
        OSError: it is missing, or something else.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "not a regular file", str(path))
    return path


def is_hidden(name: str) -> bool:
    """Whether an operating system put it beside images: ``._a.png`` and ``.DS_Store`` of macOS, ``Thumbs.db`` of Windows."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


def everything_below(folder: Path) -> list[Path]:
    """Files and folders, relative to ``folder``, in order: what is hidden is there, too, and what links lead to."""
    found = iglob("**", root_dir=folder, recursive=True, include_hidden=True)  # noqa: PTH207 - Path.rglob follows no links
    return sorted(map(Path, found))


def opened(path: Path, most_px: int = MOST_PX) -> ImageFile:
    """A file of an accepted format, of which the header is read.

    Raises:
        UnreadableError: it is none, claims more than ``most_px`` pixels, or holds several pictures.
    """
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, most_px)
    try:
        image = Image.open(regular_file(path), formats=FORMATS)
        image.filename = ""  # else Pillow maps plain TIFFs that lie on their side with height and width exchanged
        if image.width * image.height > most_px:
            raise ValueError(
                f"{image.width}x{image.height} pixels are {image.width * image.height / MEGA:.0f} megapixels, more than "
                f"{most_px / MEGA:g}: a small file may claim any size to use up the memory; `dpc predict` has max_megapixels="
            )
        if _has_several(image):
            raise ValueError("it holds several pictures; save each as a file of its own")
        return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _has_several(image: ImageFile) -> bool:
    """Pages or frames of one size. Smaller ones are previews, as the second picture of a phone's JPEG is an aid.

    A GeoTIFF's mask is of its size, too, and no picture.
    """
    if image.format == "MPO":
        return False
    size = image.size
    is_equal = any(_size_of_picture(image, frame) == size for frame in range(1, getattr(image, "n_frames", 1)))
    image.seek(0)
    return is_equal


def _size_of_picture(image: ImageFile, frame: int) -> tuple[int, int] | None:
    image.seek(frame)
    is_mask = isinstance(image, TiffImageFile) and image.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & _MASK
    return None if is_mask else image.size


def decoded(image: ImageFile, path: Path, mode: str | None = None, upright: bool = False) -> UInt8Array:
    """The pixels of what was ``opened``, in one of Pillow's modes.

    Raises:
        UnreadableError: the file is damaged.
    """
    try:
        turned = ImageOps.exif_transpose(image) if upright and _orientation(image) != 1 else image
        return np.asarray(turned.convert(mode) if mode else turned)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def _scaled(path: Path, value_range: tuple[float, float]) -> UInt8Array:
    """An image of 16 bits or floating-point values as RGB of 8 bits. Pillow has no such colours, OpenCV has."""
    import cv2

    try:
        values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.shape[2:] not in ((), (3,), (4,)) or not np.isfinite(values).all():
        raise UnreadableError(f"{path}: cannot be read as an image (damaged, or not all finite).")
    values_HWC = values[..., None] if values.ndim == 2 else values[..., 2::-1]  # blue, green, red, and alpha
    black, white = value_range

    def scaled(values: npt.NDArray[Any]) -> UInt8Array:
        return np.rint((values.astype(np.float64) - black) * (255 / (white - black))).clip(0, 255).astype(np.uint8)

    is_counted = values.dtype in (np.uint8, np.uint16)  # a table of all values takes a fifteenth of the memory
    scaled_HWC = scaled(np.arange(1 << 16))[values_HWC] if is_counted else scaled(values_HWC)
    return np.ascontiguousarray(np.broadcast_to(scaled_HWC, (*scaled_HWC.shape[:2], 3)))


def _turned(image_HWC: UInt8Array, orientation: int) -> UInt8Array:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(image_HWC)
    image.info["exif"] = exif.tobytes()
    return np.asarray(ImageOps.exif_transpose(image))


def _orientation(image: ImageFile) -> int:
    """Pillow turns TIFF by itself."""
    try:
        orientation = 1 if image.format == "TIFF" else int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):  # damaged: nothing turns such an image
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def raw_mode(image: ImageFile) -> str:
    """How the file holds its values, such as ``L;4`` or ``RGB;16B``: the mode does not tell."""
    if not getattr(image, "tile", None):
        return image.mode
    arguments = image.tile[0][3]
    return str(arguments if isinstance(arguments, str) else (arguments or [image.mode])[0])


def largest_grey(image: ImageFile) -> int:
    """What the file's whitest grey is, before Pillow scales it to 255."""
    if image.format == "PPM" and image.tile[0][0] != "raw":
        _, greatest = cast(tuple[str, int], image.tile[0][3])
        return greatest
    bits = "".join(filter(str.isdigit, raw_mode(image).partition(";")[2]))
    return 2 ** int(bits) - 1 if bits and image.mode == "L" else 255


def is_deep(image: ImageFile) -> bool:
    """Whether 8 bits per channel cannot hold what the file does."""
    is_deep_color = ";16" in raw_mode(image) or largest_grey(image) > 255
    return is_deep_color or image.mode.startswith(("I", "F")) or is_signed(image)


def is_signed(image: ImageFile) -> bool:
    """Whether values may be below 0; Pillow takes them for others."""
    return isinstance(image, TiffImageFile) and _SIGNED in np.atleast_1d(image.tag_v2.get(ExifTags.Base.SampleFormat, 1))


def stored_as(image: ImageFile) -> str:
    """What the file holds, for people."""
    return f"{'signed ' if is_signed(image) else ''}values of mode {raw_mode(image)}"


def _unreadable(path: Path, error: Exception) -> UnreadableError:
    if isinstance(error, UnidentifiedImageError):
        with path.open("rb") as file:
            is_tiff = file.read(4) in _TIFF
        reason = OTHER_TIFF if is_tiff else f"it is none of {', '.join(FORMATS)}"
    else:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UnreadableError(f"{path}: cannot be read as an image ({reason}).")
