"""Every format and depth that images and labels come in: read as what it holds, or refused."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data.datasets.contract import LabelFormatError, UnreadableError
from data.datasets.image_files import FORMATS, ImageReading, opened, read_image, size_px
from data.datasets.label_files import read_label_colors, read_label_image
from data.datasets.matlab import read_voc_labels

IDS = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
DEEP = np.array([[0, 1000, 2000, 4095]], np.uint16)


def png(bits, color_type, width, rows):
    """A PNG of a depth that Pillow does not write."""
    header = struct.pack(">II5B", width, len(rows), bits, color_type, 0, 0, 0)
    content = b"".join(b"\0" + bytes(row) for row in rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(content)), (b"IEND", b""))
    packed = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def saved(array, kind, mode=None, **options):
    file = io.BytesIO()
    Image.fromarray(array, mode).save(file, kind, **options)
    return file.getvalue()


def palette(array):
    image = Image.fromarray(array).convert("P")
    image.putpalette([90, 90, 90] * 256)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def encoded(array, suffix):
    return cv2.imencode(suffix, array)[1].tobytes()


@pytest.fixture
def file(tmp_path):
    def write(content):
        (tmp_path / "file").write_bytes(content)
        return tmp_path / "file"

    return write


# Labels


@pytest.mark.parametrize(
    "content",
    [
        png(2, 0, 4, [[0b00011011], [0b11100100]]),
        png(4, 0, 4, [[0x01, 0x23], [0x32, 0x10]]),
        png(8, 0, 4, IDS),
        palette(IDS),
        saved(IDS, "TIFF"),
        saved(IDS, "TIFF", compression="tiff_lzw"),
        saved(IDS, "BMP"),
        saved(IDS, "PPM"),
        b"P5 4 2 3\n" + IDS.tobytes(),
        b"P2 4 2 20\n" + b" ".join(b"%d" % value for value in IDS.ravel()),
    ],
    ids=["2 bits", "4 bits", "8 bits", "palette", "TIFF", "LZW", "BMP", "PGM", "PGM to 3", "plain PGM to 20"],
)
def test_a_label_map_is_read_as_the_values_that_it_holds(content, file):
    np.testing.assert_array_equal(read_label_image(file(content)), IDS)


def test_a_label_map_of_one_bit_is_read_as_0_and_1(file):
    np.testing.assert_array_equal(read_label_image(file(png(1, 0, 4, [[0b01100000]]))), [[0, 1, 1, 0]])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (png(16, 0, 1, [[1, 44]]), "got shape .* of uint16"),
        (png(16, 2, 1, [[1, 44] * 3]), "one channel of 8-bit class ids, got shape"),
        (saved(np.stack([IDS] * 3, 2), "PNG"), "red, green and blue are equal: save one of them"),
        (saved(np.stack([IDS, IDS, IDS + 1], 2), "PNG"), "are they colours\\? dataset=folder reads these by dataset.colors"),
        (saved(IDS.astype(np.float32), "TIFF"), "of float32"),
        (saved(IDS, "JPEG"), "JPEG blurs class ids"),
        (saved(IDS, "TIFF", compression="jpeg"), "TIFF blurs class ids"),
        (encoded(IDS.astype(np.int8), ".tiff"), "got signed values"),
        (saved(IDS > 1, "PPM"), "stored inverted"),
        (saved(IDS, "TIFF", tiffinfo={262: 0}), "stored inverted"),
    ],
)
def test_a_label_map_that_holds_no_class_ids_is_refused(content, complaint, file):
    with pytest.raises(LabelFormatError, match=complaint):
        read_label_image(file(content))


@pytest.mark.parametrize("form", [{"save_all": True}, {"lossless": True}], ids=["MPO", "WEBP"])
def test_the_relatives_of_jpeg_are_no_label_maps(form, file):
    more = {"append_images": [Image.fromarray(IDS)]} if "save_all" in form else {}
    with pytest.raises(LabelFormatError, match="blurs class ids|one channel"):
        read_label_image(file(saved(IDS, "MPO" if more else "WEBP", **form, **more)))


@pytest.mark.parametrize("depth", [8, 16])
def test_colours_are_read_in_8_bits_and_refused_in_16(depth, file):
    if depth == 16:
        with pytest.raises(LabelFormatError, match="colours of 8 bits per channel, got values of mode RGB;16B"):
            read_label_colors(file(png(16, 2, 1, [[1, 44] * 3])))
    else:
        assert read_label_colors(file(png(8, 2, 1, [[1, 2, 3]]))).tolist() == [[[1, 2, 3]]]


# Images


@pytest.mark.parametrize(
    "content",
    [
        png(16, 0, 1, [[1, 44]]),
        png(16, 2, 1, [[1, 44] * 3]),
        png(16, 6, 1, [[1, 44] * 4]),
        png(16, 4, 1, [[1, 44] * 2]),
        encoded(np.full((2, 2, 3), 300, np.uint16), ".tiff"),
        encoded(np.full((2, 2), 300, np.uint16), ".tiff"),
        encoded(np.full((2, 2), 0.5, np.float32), ".tiff"),
        encoded(np.full((2, 2), -1, np.int8), ".tiff"),
        b"P6 1 1 4095\n" + bytes(6),
        b"P5 1 1 4095\n" + bytes(2),
    ],
    ids=["grey", "RGB", "RGBA", "grey and alpha", "TIFF RGB", "TIFF", "float TIFF", "signed TIFF", "PPM", "PGM"],
)
def test_an_image_of_more_than_8_bits_is_refused_with_the_setting_that_reads_it(content, file):
    with pytest.raises(UnreadableError, match=r"8 bits per channel \(it holds .*dataset.value_range=\[black,white\]"):
        read_image(file(content))


@pytest.mark.parametrize(
    "content",
    [
        encoded(DEEP, ".png"),
        encoded(DEEP, ".tiff"),
        encoded(DEEP.astype(np.float32), ".tiff"),
        encoded(np.stack([DEEP] * 3, 2), ".png"),
    ],
    ids=["PNG", "TIFF", "float TIFF", "RGB PNG"],
)
def test_values_of_more_than_8_bits_become_grey_between_the_black_and_white_that_are_given(content, file):
    image_HWC, _ = read_image(file(content), ImageReading(value_range=(1000, 3000)))
    assert image_HWC.tolist() == [[[0] * 3, [0] * 3, [128] * 3, [255] * 3]]


def test_an_image_of_16_bits_is_scaled_in_a_few_times_its_own_memory(file):
    path = file(encoded(np.full((500, 500), 1234, np.uint16), ".png"))
    tracemalloc.start()
    image_HWC, _ = read_image(path, ImageReading(value_range=(0, 4936)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (image_HWC == 64).all()
    assert peak < 10 * 500 * 500


def test_channels_of_16_bits_stay_in_their_order(file):
    image_HWC, _ = read_image(file(png(16, 2, 1, [[1, 0, 2, 0, 3, 0]])), ImageReading(value_range=(0, 65535)))
    assert image_HWC.tolist() == [[[1, 2, 3]]]


def test_a_range_for_images_of_8_bits_is_refused_and_so_are_values_that_are_no_numbers(file):
    reading = ImageReading(value_range=(0, 4095))
    with pytest.raises(UnreadableError, match="dataset.value_range, which is for more than 8 bits"):
        read_image(file(saved(IDS, "PNG")), reading)
    with pytest.raises(UnreadableError, match="not all finite"):
        read_image(file(encoded(np.full((2, 2), np.nan, np.float32), ".tiff")), reading)


@pytest.mark.parametrize("value_range", [(5, 5), (2, 1), (1,), (1, 2, 3)])
def test_an_impossible_range_is_refused(value_range):
    with pytest.raises(ValueError, match="dataset.value_range must be two values"):
        ImageReading(value_range=value_range)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_is_turned_on_request_as_its_exif_says(kind, orientation, file):
    upright_HWC = np.zeros((32, 64, 3), np.uint8)
    upright_HWC[:, :16] = 255  # a white left
    stored = np.rot90(upright_HWC, 1 if orientation == 6 else 2)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    path = file(saved(np.ascontiguousarray(stored), kind, exif=exif, **options))
    image_HWC, told = read_image(path, ImageReading(upright=True))
    assert np.abs(image_HWC.astype(int) - upright_HWC).max() < 9
    assert size_px(path, ImageReading(upright=True)) == (32, 64)
    as_stored_HWC, _ = read_image(path)
    assert size_px(path) == as_stored_HWC.shape[:2]
    if kind != "TIFF":  # which Pillow turns by itself, on request or not
        assert as_stored_HWC.shape == stored.shape
        assert told == orientation


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("orientation", [6, 8])
def test_a_plain_tiff_that_lies_on_its_side_is_read_upright_and_so_are_labels(mode, orientation, file):
    stored = np.arange(15, dtype=np.uint8).reshape(3, 5)
    path = file(saved(stored, "TIFF", mode, tiffinfo={274: orientation}))
    upright = np.rot90(stored, -1 if orientation == 6 else 1).tolist()
    assert read_label_image(path).tolist() == upright
    if mode == "L":
        assert read_image(path)[0][..., 0].tolist() == upright


def test_an_image_of_16_bits_is_turned_too(file):
    exif = Image.Exif()
    exif[274] = 6
    path = file(saved(np.array([[0, 65535]], np.uint16), "PNG", exif=exif))
    image_HWC, _ = read_image(path, ImageReading(upright=True, value_range=(0, 65535)))
    assert image_HWC[..., 0].tolist() == [[0], [255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_file_of_several_pictures_is_refused(kind, file):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 99, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableError, match="it holds several pictures; save each as a file of its own"):
        read_image(file(buffer.getvalue()))


def test_a_mask_beside_a_picture_is_no_second_one_and_hides_none(file):
    mask, picture, other = Image.new("L", (8, 8), 255), Image.new("RGB", (8, 8), (1, 2, 3)), Image.new("RGB", (8, 8))
    mask.encoderinfo = {"tiffinfo": {254: 4}}
    masked, several = io.BytesIO(), io.BytesIO()
    picture.save(masked, "TIFF", save_all=True, append_images=[mask])
    assert read_image(file(masked.getvalue()))[0][0, 0].tolist() == [1, 2, 3]
    picture.save(several, "TIFF", save_all=True, append_images=[mask, other])
    with pytest.raises(UnreadableError, match="it holds several pictures"):
        read_image(file(several.getvalue()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "tiff",
    [encoded(np.full((2, 2), 0.5), ".tiff"), encoded(np.zeros((9, 9), np.uint8), ".tiff")[:20]],
    ids=["other", "damaged"],
)
def test_a_tiff_that_cannot_be_read_may_be_damaged_or_is_told_as_what_to_save_it(tiff, file):
    with pytest.raises(UnreadableError, match="it is damaged, or a TIFF of a layout that is not read: save it as grey or RGB"):
        read_image(file(tiff))


def test_a_preview_beside_a_picture_is_no_second_one(file):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(buffer, "TIFF", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    assert read_image(file(buffer.getvalue()))[0].shape == (8, 8, 3)


def test_an_image_of_more_pixels_than_allowed_is_refused_and_read_where_more_are_allowed(file):
    path = file(saved(np.zeros((10, 20), np.uint8), "PNG"))
    with pytest.raises(UnreadableError, match="20x10 pixels are 0 megapixels, more than 0"):
        read_image(path, most_px=199)
    assert read_image(path, most_px=200)[0].shape == (10, 20, 3)


def test_each_format_that_is_accepted_can_be_read_as_an_image(file):
    for kind in FORMATS:
        assert read_image(file(saved(np.zeros((4, 4, 3), np.uint8), kind)))[0].shape == (4, 4, 3)


# MATLAB files of SBD


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.full((2, 2), 261, np.uint16), "whole numbers from 0 to 255, got 261"),
        (np.full((2, 2), 3.7), "got 3.7"),
        (np.full((2, 2), -1, np.int8), "got -1"),
        (np.full((2, 2), np.nan), "got nan"),
        (np.zeros((2, 2, 3), np.uint8), r"a matrix of class ids, got shape \(2, 2, 3\)"),
    ],
)
def test_values_of_sbd_that_8_bits_cannot_hold_are_refused(values, complaint, tmp_path):
    path = tmp_path / "labels.mat"
    savemat(path, {"GTcls": {"Segmentation": values}})
    with pytest.raises(LabelFormatError, match=f"{path}: .*{complaint}"):
        read_voc_labels(path)


@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.int32])
@pytest.mark.parametrize("is_packed", [True, False])
def test_whole_numbers_of_any_type_are_labels(kind, is_packed, tmp_path):
    path = tmp_path / "labels.mat"
    savemat(path, {"GTcls": {"Segmentation": IDS.astype(kind)}}, do_compression=is_packed)
    np.testing.assert_array_equal(read_voc_labels(path), IDS)


def test_a_matlab_file_that_is_larger_than_labels_can_be_is_refused_unread(tmp_path):
    path = tmp_path / "labels.mat"
    savemat(path, {"GTcls": {"Segmentation": np.zeros((1100, 1100), np.uint8)}})
    with pytest.raises(UnreadableError, match="more than 1,048,576 bytes"):
        read_voc_labels(path)


def test_an_image_of_a_few_pixels_too_many_is_refused_and_not_only_warned_of(tmp_path):
    """Pillow itself warns up to twice the number that it is told."""
    path = tmp_path / "image.png"
    Image.new("L", (40, 30)).save(path)
    with pytest.raises(UnreadableError, match="40x30 pixels .*, more than"):
        opened(path, most_px=1199)
    assert opened(path, most_px=1200).size == (40, 30)


def test_a_small_matlab_file_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "labels.mat"
    savemat(path, {"GTcls": {"Segmentation": np.zeros((5000, 5000), np.uint8)}}, do_compression=True)
    assert path.stat().st_size < 100_000
    with pytest.raises(UnreadableError, match="it unpacks to more than 16,777,216 bytes"):
        read_voc_labels(path)
