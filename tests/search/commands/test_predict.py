"""``dpc predict`` on files as people have them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.datasets.cityscapes import Cityscapes
from data.datasets.image_files import SUFFIXES
from data.datasets.palette import distinct_palette
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import Branch, CellSpec, Conv1x1, PyramidPooling
from search.cli import main
from training.prediction import predict_labels
from training.settings import Inference

CELL = CellSpec((Branch(-1, Conv1x1()), Branch(-1, PyramidPooling((2, 2)))))
NAMES = ["background", "cat", "dog", "house"]
PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200))
PLAIN = Inference()
ROTATED = 6
"""The EXIF orientation of a camera held upright: turn by 90 degrees to the right to see it."""

pytestmark = pytest.mark.usefixtures("one_thread")


def photo(seed=0, height_px=60, width_px=83):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (3, 4, 3), np.uint8).repeat(24, 0).repeat(24, 1)[:height_px, :width_px]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = Segmenter(CELL, 4, BackboneSettings("local"), CellSettings(filters=8), class_names=NAMES, palette=PALETTE).eval()
    with torch.inference_mode():
        model.classifier.weight.mul_(20)
        images_BCHW = torch.stack([torch.from_numpy(photo(seed)).permute(2, 0, 1) / 127.5 - 1 for seed in range(4)])
        model.classifier.bias -= model(images_BCHW).mean(dim=(0, 2, 3))
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def put(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(photo() if pixels is None else pixels)
    picture.save(path, **options)
    return path


def predict(checkpoint, images, *overrides, output=None):
    output = output or images.parent / "out"
    code = main(["predict", f"checkpoint={checkpoint}", f"images='{images}'", f"output='{output}'", *overrides])
    return code, output


def test_what_is_no_image_to_label_is_said(checkpoint, photos, capsys):
    put(photos / "a.png")
    put(photos / "earlier" / "labels" / "a.png")
    for name in ("b.gif", "notes.txt", "._a.png"):
        (photos / name).write_bytes(b"x")
    code, output = predict(checkpoint, photos, "overwrite=true", output=photos / "earlier")
    assert code == 0
    printed = capsys.readouterr().out
    assert f"1 files are hidden and are left out, the first is {photos}/._a.png." in printed
    assert f"2 files end in none of {', '.join(SUFFIXES)} and are left out, the first is {photos}/b.gif." in printed
    assert f"1 files lie below output={output} and are left out, the first is {output}/labels/a.png." in printed
    assert "1 of 1 image labelled" in printed


def test_linked_folders_are_labelled_and_hidden_ones_are_not(checkpoint, photos, tmp_path, capsys):
    put(tmp_path / "elsewhere" / "a.png")
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    put(photos / ".thumbnails" / "b.png")
    code, output = predict(checkpoint, photos)
    assert code == 0
    assert f"1 files are hidden and are left out, the first is {photos}/.thumbnails/b.png." in capsys.readouterr().out
    assert [str(path.relative_to(output / "labels")) for path in (output / "labels").rglob("*.png")] == ["a.png"]


def test_images_of_any_size_and_depth_are_labelled_on_request(checkpoint, photos, capsys):
    put(photos / "large.png")
    assert predict(checkpoint, photos, "max_megapixels=0.004")[0] == 1
    assert "83x60 pixels are 0 megapixels, more than 0.004" in capsys.readouterr().out
    assert predict(checkpoint, photos, "max_megapixels=0.005")[0] == 0
    (photos / "large.png").unlink()
    put(photos / "deep.png", Image.fromarray(photo()[..., 0].astype(np.uint16) * 16))
    assert predict(checkpoint, photos)[0] == 1
    assert "8 bits per channel (it holds values of mode I;16B); give value_range=[black,white]." in capsys.readouterr().out
    code, output = predict(checkpoint, photos, "value_range=[0,4080]")
    assert code == 0
    grey_HWC = photo()[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(labels_in(output / "labels" / "deep.png"), expected_labels(checkpoint, grey_HWC))


def labels_in(path):
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


def expected_labels(checkpoint, image_HWC, inference=PLAIN):
    return predict_labels(Segmenter.from_pretrained(checkpoint).eval(), image_HWC, inference).numpy()


def written(output):
    """Every file below ``output``; what is in labels/ is in overlays/, too."""
    labels, overlays = (
        {file.relative_to(output / part) for file in (output / part).rglob("*") if file.is_file()} for part in PARTS
    )
    assert labels == overlays
    return {str(path) for path in labels}


PARTS = ("labels", "overlays")

# What is written


def test_a_label_map_holds_class_ids_in_the_models_colours(checkpoint, photos):
    code, output = predict(checkpoint, put(photos / "a.png"))
    assert code == 0
    labels_HW = labels_in(output / "labels" / "a.png")
    assert np.array_equal(labels_HW, expected_labels(checkpoint, photo()))
    assert len(np.unique(labels_HW)) > 2
    with Image.open(output / "labels" / "a.png") as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), np.array(PALETTE)[labels_HW])


def test_an_overlay_is_the_image_under_its_colours_with_a_legend_below(checkpoint, photos):
    _, output = predict(checkpoint, put(photos / "a.png"), "opacity=0.25")
    colours_HWC = np.array(PALETTE)[labels_in(output / "labels" / "a.png")]
    with Image.open(output / "overlays" / "a.png") as picture:
        overlay_HWC = np.asarray(picture.convert("RGB"))
    assert abs(overlay_HWC[:60, :83] - (0.75 * photo() + 0.25 * colours_HWC)).max() <= 0.5
    assert {tuple(colour) for colour in np.unique(colours_HWC.reshape(-1, 3), axis=0)} <= set(
        map(tuple, overlay_HWC[60:].reshape(-1, 3))
    )


def test_a_model_without_a_palette_gets_colours_that_all_tell_apart(checkpoint, photos, tmp_path):
    model = Segmenter.from_pretrained(checkpoint)
    plain = Segmenter.from_config({**model.config, "palette": None})
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(tmp_path / "plain")
    _, output = predict(tmp_path / "plain", put(photos / "a.png"))
    with Image.open(output / "labels" / "a.png") as picture:
        assert picture.getpalette()[: 3 * 4] == [channel for colour in distinct_palette(4) for channel in colour]


def test_scales_flips_and_tiles_are_settings(checkpoint, photos):
    _, output = predict(
        checkpoint, put(photos / "a.png"), "inference=multi_scale", "inference.tile_px=64", "inference.overlap_px=16"
    )
    paper = Inference((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, tile_px=64, overlap_px=16)
    labels_HW = labels_in(output / "labels" / "a.png")
    assert np.array_equal(labels_HW, expected_labels(checkpoint, photo(), paper))
    assert not np.array_equal(labels_HW, expected_labels(checkpoint, photo()))


# What is read


def test_an_image_is_labelled_as_a_viewer_shows_it(checkpoint, photos):
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    _, output = predict(checkpoint, put(photos / "a.png", photo(), exif=exif))
    assert np.array_equal(labels_in(output / "labels" / "a.png"), expected_labels(checkpoint, np.rot90(photo(), -1).copy()))


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1", "CMYK"])
def test_other_colour_modes_are_labelled_as_their_rgb(mode, checkpoint, photos):
    picture = Image.fromarray(photo()).convert(mode)
    _, output = predict(checkpoint, put(photos / ("a.tif" if mode == "CMYK" else "a.png"), picture))
    assert np.array_equal(
        labels_in(output / "labels" / "a.png"), expected_labels(checkpoint, np.asarray(picture.convert("RGB")))
    )


@pytest.mark.parametrize(("height_px", "width_px"), [(1, 1), (1, 300), (300, 1)])
def test_odd_sizes_are_labelled(height_px, width_px, checkpoint, photos):
    code, output = predict(checkpoint, put(photos / "a.png", np.zeros((height_px, width_px, 3), np.uint8)))
    assert code == 0
    assert labels_in(output / "labels" / "a.png").shape == (height_px, width_px)


def test_files_that_cannot_be_read_are_named_and_the_others_go_on(checkpoint, photos, capsys):
    put(photos / "a.png")
    put(photos / "z.jpg")
    (photos / "empty.png").write_bytes(b"")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:100])
    (photos / "text.jpg").write_text("no image")
    put(photos / "deep.png", np.zeros((9, 9), np.uint16))
    (photos / "notes.txt").write_text("not meant")
    code, output = predict(checkpoint, photos)
    said = capsys.readouterr().out
    assert code == 1
    assert written(output) == {"a.png", "z.png"}
    assert all(
        f"photos/{name}: cannot be read as an image" in said for name in ("empty.png", "cut.png", "text.jpg", "deep.png")
    )
    assert "2 of 6 images labelled" in said


def test_images_of_one_name_in_different_folders_keep_their_folders(checkpoint, photos):
    for folder, seed in (("day", 0), ("night", 1)):
        put(photos / folder / "a.png", photo(seed))
    _, output = predict(checkpoint, photos / "*" / "a.png", output=photos / "out")
    assert written(output) == {"day/a.png", "night/a.png"}
    assert np.array_equal(labels_in(output / "labels" / "night" / "a.png"), expected_labels(checkpoint, photo(1)))


def test_images_of_one_stem_keep_their_suffixes(checkpoint, photos):
    for name in ("a.png", "a.jpg", "a.jpg.png"):
        put(photos / name)
    _, output = predict(checkpoint, photos)
    assert written(output) == {"a.png.png", "a.jpg.png", "a.jpg.png.png"}


def test_the_pictures_of_an_earlier_run_are_not_labelled(checkpoint, photos):
    put(photos / "a.png")
    for _ in range(2):
        predict(checkpoint, photos, output=photos / "out")
    assert written(photos / "out") == {"a.png"}


def test_a_name_with_brackets_and_blanks_is_a_name(checkpoint, photos):
    code, output = predict(checkpoint, put(photos / "my photo [1] {x}.png"))
    assert code == 0
    assert written(output) == {"my photo [1] {x}.png"}


def test_a_name_that_is_no_text_is_kept_and_shown_as_far_as_it_is(checkpoint, photos, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    put(photos / "a.png").rename(photos / name)
    (photos / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    code, output = predict(checkpoint, photos)
    assert code == 1
    assert "1 of 2 images labelled" in capsys.readouterr().out
    assert written(output) == {name}


def test_labels_that_predict_has_not_made_are_not_written_over(checkpoint, photos, tmp_path, capsys):
    truth = put(tmp_path / "gt" / "val" / "labels" / "a.png")
    before = truth.read_bytes()
    code, _ = predict(checkpoint, put(photos / "a.png"), output=tmp_path / "gt" / "val")
    assert code == 2
    assert "labels is there and was not made by dpc predict" in capsys.readouterr().err
    assert truth.read_bytes() == before


# What is refused


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["images={tmp}/nowhere"], "images: nothing found at"),
        (["images={tmp}/empty"], "expected is a file that ends in .png, .jpg"),
        (["images='{tmp}/*.gif'"], "a pattern that matches some"),
        (["checkpoint={tmp}"], "expected a folder with model.safetensors"),
        (["opacity=1.5"], "opacity: must be from 0 to 1, got 1.5"),
        (["inference.overlap_px=-1"], "inference.overlap_px must be from 0 to half of tile_px"),
        (["inference=best"], "inference: no choice 'best'; accepted are multi_scale, paper_test, paper_val, single_scale"),
        (["output={tmp}/file"], "output: must be a folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_setting_is_one_line(overrides, complaint, checkpoint, photos, tmp_path, capsys):
    put(photos / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    given = {"checkpoint": str(checkpoint), "images": str(photos), "output": f"{tmp_path}/out"}
    given |= dict(override.replace("{tmp}", str(tmp_path)).split("=", 1) for override in overrides)
    assert main(["predict", *(f"{key}={value}" for key, value in given.items())]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_picture_that_cannot_be_written_is_named_and_leaves_no_part(checkpoint, photos, capsys):
    output = photos.parent / "out"
    (output / "overlays" / "a.png").mkdir(parents=True)
    code, _ = predict(checkpoint, put(photos / "a.png"), "overwrite=true", output=output)
    assert code == 2
    assert str(output / "overlays" / "a.png") in capsys.readouterr().err
    assert [path.name for path in Path(output).rglob("*.partial")] == []


@pytest.fixture(scope="module")
def of_many_classes(tmp_path_factory):
    """Models of 19 and 21 classes, which they find here and there."""
    folder = tmp_path_factory.mktemp("models")
    for classes in (19, 21):
        torch.manual_seed(0)
        model = Segmenter(CELL, classes, BackboneSettings("local"), CellSettings(filters=8)).eval()
        with torch.inference_mode():
            model.classifier.weight.mul_(20)
            model.classifier.bias -= model(torch.from_numpy(photo()).permute(2, 0, 1)[None] / 127.5 - 1).mean(dim=(0, 2, 3))
        model.save_pretrained(folder / str(classes))
    return folder


def test_cityscapes_gets_one_png_an_image_with_its_own_ids(of_many_classes, tmp_path, capsys):
    """cityscapesScripts 2.3.0: found by city, sequence and frame; of the image's size; one channel of label ids."""
    name = "berlin_000000_000019_leftImg8bit.png"
    image = put(tmp_path / "data" / "leftImg8bit" / "test" / "berlin" / name)
    code, output = predict(of_many_classes / "19", tmp_path / "data", "submission=cityscapes")
    assert code == 0
    assert f"cd {output} && zip -r cityscapes.zip cityscapes" in capsys.readouterr().out
    assert [file.name for file in output.rglob("*.png")] == [name]
    with Image.open(output / "cityscapes" / name) as picture:
        assert picture.mode == "L"
        ids_HW = np.asarray(picture)
    trained_HW = expected_labels(of_many_classes / "19", np.asarray(Image.open(image)))
    official = {0: 7, 1: 8, 2: 11, 3: 12, 4: 13, 5: 17, 6: 19, 7: 20, 8: 21, 9: 22, 10: 23, 11: 24, 12: 25, 13: 26}
    official |= {14: 27, 15: 28, 16: 31, 17: 32, 18: 33}
    assert len(np.unique(trained_HW)) > 2
    np.testing.assert_array_equal(ids_HW, np.vectorize(official.get)(trained_HW))


def test_voc_gets_palette_pngs_of_its_test_list_in_its_tree(of_many_classes, tmp_path):
    devkit = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    pixels = np.array(Image.open(put(devkit / "JPEGImages" / "2008_000006.jpg")))
    put(devkit / "JPEGImages" / "2008_000001.jpg")  # of another task
    (devkit / "ImageSets" / "Segmentation").mkdir(parents=True)
    (devkit / "ImageSets" / "Segmentation" / "test.txt").write_text("2008_000006\n")
    code, output = predict(of_many_classes / "21", tmp_path / "data", "submission=voc2012")
    assert code == 0
    (file,) = output.rglob("*.png")
    assert file == output / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls" / "2008_000006.png"
    np.testing.assert_array_equal(labels_in(file), expected_labels(of_many_classes / "21", pixels))
    with Image.open(file) as picture:
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        assert picture.getpalette()[45:48] == [192, 128, 128]  # a person


def test_a_submission_of_another_model_or_without_its_images_is_refused(of_many_classes, tmp_path, capsys):
    put(tmp_path / "data" / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png")
    assert predict(of_many_classes / "21", tmp_path / "data", "submission=cityscapes")[0] == 2
    assert "checkpoint: the model has 21 classes, cityscapes has 19." in capsys.readouterr().err
    model = Segmenter.from_pretrained(of_many_classes / "19")
    model.class_names = sorted(Cityscapes.info.class_names)
    model.save_pretrained(tmp_path / "reordered")
    assert predict(tmp_path / "reordered", tmp_path / "data", "submission=cityscapes")[0] == 2
    assert "checkpoint: class 0 of the model is 'bicycle', of cityscapes 'road'." in capsys.readouterr().err
    assert predict(of_many_classes / "21", tmp_path / "data", "submission=voc2012")[0] == 2
    assert "test.txt" in capsys.readouterr().err
