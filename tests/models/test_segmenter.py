import json
import pickle
from dataclasses import dataclass

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from models.backbone_check import BackboneError
from models.operators import build_operator
from models.segmenter import ModelFileError, Segmenter
from models.settings import WEIGHTS_FILE, BackboneSettings, CellSettings
from models.spec import PUBLISHED_OPERATORS, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling

LOCAL = BackboneSettings("local")
CELL = CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1()), Branch(-1, PyramidPooling((2, 1)))))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def small(**settings):
    return Segmenter(CELL, 3, **{"backbone": LOCAL, "cell_settings": CellSettings(filters=8), **settings}).eval()


@torch.inference_mode()
def logits_of(model, height_px=50, width_px=37):
    return model(torch.randn(2, 3, height_px, width_px, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def saved(tmp_path):
    model = small(class_names=["sky", "road", "car"])
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refusal(folder):
    with pytest.raises(ModelFileError) as caught:
        Segmenter.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert str(folder) in str(caught.value)
    return str(caught.value)


# Logits


@pytest.mark.parametrize("decoder", [False, True], ids=["plain", "decoder"])
@pytest.mark.parametrize(("height_px", "width_px"), [(65, 81), (64, 80), (66, 82), (33, 47), (17, 100), (1, 1)])
def test_logits_have_the_images_own_size(height_px, width_px, decoder):
    logits_BKHW = logits_of(small(decoder=decoder), height_px, width_px)
    assert logits_BKHW.shape == (2, 3, height_px, width_px)
    assert logits_BKHW.isfinite().all()


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("decoder", [False, True], ids=["plain", "decoder"])
def test_it_takes_a_timm_encoder_at_either_output_stride(output_stride, decoder):
    backbone = BackboneSettings("tu-mobilenetv2_100", output_stride)
    model = small(backbone=backbone, cell_settings=CellSettings(8, output_stride), decoder=decoder)
    assert logits_of(model, 70, 65).shape == (2, 3, 70, 65)


def test_a_pixel_of_the_features_grid_gets_the_classifiers_own_score():
    model = small()
    images_BCHW = torch.randn(1, 3, 50, 37)
    with torch.inference_mode():
        logits_BKHW = model(images_BCHW)
        padded_BCHW = torch.nn.functional.pad(images_BCHW, (0, 49 - 37, 0, 65 - 50))
        coarse_BKhw = model.classifier(model.cell(model.encoder(padded_BCHW)[-1]))
    torch.testing.assert_close(logits_BKHW[..., ::16, ::16], coarse_BKhw[..., :4, :3])


def test_padding_is_the_mean_colour_so_an_image_padded_by_hand_scores_the_same():
    model = small()
    images_BCHW = torch.randn(1, 3, 50, 37)
    with torch.inference_mode():
        by_hand = model(torch.nn.functional.pad(images_BCHW, (0, 12, 0, 15)))
        assert torch.equal(model(images_BCHW), by_hand[..., :50, :37])


def test_the_decoder_gives_details_that_stride_16_cannot():
    small_step = torch.randn(1, 3, 65, 65)
    plain, refined = small(), small(decoder=True)
    assert plain.decoder is None
    with torch.inference_mode():
        rough = [model(small_step)[0, 0].diff(n=2, dim=0).abs() > 1e-4 for model in (plain, refined)]
    kinks = [set(torch.nonzero(where.any(dim=1)).flatten().tolist()) for where in rough]
    assert kinks[0] <= {15, 31, 47}  # bilinear between features 16 pixels apart
    assert len(kinks[1]) > 3


# Saving and loading


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"decoder": True},
        {"backbone": BackboneSettings("local", mean=(0.4, 0.5, 0.6), std=[0.2, 0.2, 0.3], seed=3)},
        {"backbone": BackboneSettings("tu-mobilenetv2_100", 8, pad_type="same"), "cell_settings": CellSettings(8, 8, 0.2, 0.3)},
    ],
    ids=["plain", "decoder", "seed", "timm"],
)
def test_a_saved_model_comes_back_with_equal_logits_and_settings(settings, tmp_path):
    model = small(**settings)
    logits_of(model.train(), 65, 65)  # moves the running statistics off their start
    model.eval().save_pretrained(tmp_path)
    loaded = Segmenter.from_pretrained(tmp_path).eval()
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert loaded.config == model.config
    assert loaded.backbone_settings == model.backbone_settings


def test_a_model_that_was_saved_with_all_settings_side_by_side_comes_back(saved):
    expected = Segmenter.from_pretrained(saved).eval()
    flat = {
        "cell": CELL.to_json(),
        "classes": 3,
        "encoder_name": "local",
        "output_stride": 16,
        "pad_type": None,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "filters": 8,
        "bn_momentum": 0.1,
        "dropout": 0.1,
        "decoder": False,
        "class_names": ["sky", "road", "car"],
        "encoder_seed": 0,
        "palette": None,
    }
    save_file(load_file(saved / WEIGHTS_FILE), saved / WEIGHTS_FILE, metadata={"config": json.dumps(flat)})
    loaded = Segmenter.from_pretrained(saved).eval()
    assert loaded.config == expected.config
    assert torch.equal(logits_of(loaded), logits_of(expected))


def test_the_cell_must_have_the_backbones_output_stride():
    with pytest.raises(ValueError, match="cell.output_stride must be the backbone's, 16, got 8"):
        small(cell_settings=CellSettings(8, 8))


def test_a_saved_model_holds_its_cell_and_its_class_names(saved):
    loaded = Segmenter.from_pretrained(saved)
    assert loaded.cell.spec == CELL
    assert loaded.class_names == ["sky", "road", "car"]


def test_a_model_of_output_stride_16_labels_at_8_with_the_rates_that_its_weights_were_trained_with(tmp_path):
    """Every other feature at stride 8 is a feature at stride 16: what lies between is new."""
    cell = CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1())))  # means of areas differ a little
    backbone = BackboneSettings("tu-mobilenetv2_100", 16, pad_type="same")
    Segmenter(cell, 3, backbone, CellSettings(filters=8)).save_pretrained(tmp_path)
    images_BCHW = torch.randn(1, 3, 97, 129)
    coarse, fine = (Segmenter.from_pretrained(tmp_path, stride).eval() for stride in (None, 8))
    with torch.inference_mode():
        coarse_BKhw, fine_BKhw = coarse.coarse_logits(images_BCHW), fine.coarse_logits(images_BCHW)
    assert fine_BKhw.shape[-2:] == (13, 17)
    torch.testing.assert_close(fine_BKhw[..., ::2, ::2], coarse_BKhw, rtol=1e-3, atol=1e-4)


def test_a_backbone_without_the_output_stride_that_is_asked_for_says_so(saved):
    with pytest.raises(BackboneError, match="backbone.output_stride: local has 16, got 8"):
        Segmenter.from_pretrained(saved, 8)


def test_a_palette_is_carried_along(tmp_path):
    small(palette=[(1, 2, 3), [4, 5, 6], (7, 8, 255)]).save_pretrained(tmp_path)
    assert Segmenter.from_pretrained(tmp_path).palette == ((1, 2, 3), (4, 5, 6), (7, 8, 255))
    assert small().palette is None


@pytest.mark.parametrize("field", ["class_names", "palette"])
def test_names_and_colours_must_be_one_a_class(field):
    with pytest.raises(ValueError, match=f"Segmenter: {field} must be one per class, got 1 for 3 classes"):
        small(**{field: [(1, 2, 3)]})


def test_the_one_file_of_a_model_holds_its_configuration_and_the_folder_nothing_else(saved):
    with safe_open(saved / WEIGHTS_FILE, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    assert CellSpec.from_json(config["cell"]) == CELL
    assert (config["num_classes"], config["class_names"]) == (3, ["sky", "road", "car"])
    assert [path.name for path in saved.iterdir()] == [WEIGHTS_FILE]


def test_saving_again_replaces_the_model_and_leaves_no_partial_file(saved):
    other = small(cell_settings=CellSettings(filters=4))
    other.save_pretrained(saved)
    assert torch.equal(logits_of(Segmenter.from_pretrained(saved).eval()), logits_of(other))
    assert sorted(path.name for path in saved.iterdir()) == [WEIGHTS_FILE]


def test_saving_and_loading_need_no_pickle(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a model file was pickled or unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "dump"), (torch, "load"), (torch, "save")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    small().save_pretrained(tmp_path)
    Segmenter.from_pretrained(tmp_path)


# Files that are no model


def test_a_folder_without_a_model_is_named_with_what_is_expected(tmp_path):
    assert "expected a folder with model.safetensors" in refusal(tmp_path)
    assert "expected a folder with model.safetensors" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_model_is_refused(share, saved):
    content = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(content[: int(share * len(content))])
    assert "damaged" in refusal(saved)


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"\xff" * 100, b"PK\x03\x04" + b"\0" * 60])
def test_a_file_of_another_kind_is_refused(content, saved):
    (saved / WEIGHTS_FILE).write_bytes(content)
    assert "not a model of dpc-search" in refusal(saved)


def rewrite(folder, tensors=None, **changes):
    """The saved model with other tensors or another configuration."""
    path = folder / WEIGHTS_FILE
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    save_file(tensors or load_file(path), path, metadata={"config": json.dumps({**config, **changes})})


def test_someone_elses_safetensors_is_refused(saved):
    save_file({"weight": torch.zeros(2)}, saved / WEIGHTS_FILE)
    assert "not a model of dpc-search" in refusal(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 4},
        {"cell_settings": {"filters": 9}},
        {"cell_settings": None},
        {"cell": []},
        {"cell": [{"op": "conv", "kernel": 1, "input": 7}]},
        {"backbone": {"name": "resnet81"}},
        {"backbone": {"name": "local", "mean": None}},
        {"backbone": {"name": "local", "surprise": 1}},
        {"palette": [[0, 0, 0]]},
        {"palette": [[0, 0]] * 3},
        {"surprise": 1},
        {"backbone": {"name": "local", "output_stride": 8, "weights": "/etc/passwd"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused_in_one_line(changes, saved):
    rewrite(saved, **changes)
    assert "not a model of dpc-search" in refusal(saved)


@pytest.mark.parametrize("config", ["", "[]", "[1]", "null", "{", '"text"'])
def test_a_configuration_that_is_no_mapping_is_refused(config, saved):
    save_file(load_file(saved / WEIGHTS_FILE), saved / WEIGHTS_FILE, metadata={"config": config})
    assert "not a model of dpc-search" in refusal(saved)


def test_a_model_that_lacks_a_tensor_is_refused(saved):
    tensors = load_file(saved / WEIGHTS_FILE)
    rewrite(saved, {name: tensor for name, tensor in tensors.items() if name != "classifier.bias"})
    assert "classifier.bias" in refusal(saved)


def test_a_flipped_bit_anywhere_in_a_model_is_refused(saved):
    content = (saved / WEIGHTS_FILE).read_bytes()
    for place in range(0, len(content), len(content) // 60):
        flipped = bytearray(content)
        flipped[place] ^= 4
        (saved / WEIGHTS_FILE).write_bytes(flipped)
        with pytest.raises(ModelFileError):
            Segmenter.from_pretrained(saved)


@pytest.mark.parametrize("is_forged", [False, True], ids=["configuration", "weights too"])
def test_a_size_that_the_weights_do_not_have_is_refused_before_anything_is_built(saved, monkeypatch, is_forged):
    tensors = load_file(saved / WEIGHTS_FILE)
    if is_forged:
        tensors["classifier.weight"] = torch.zeros(3, 10**5, 1, 1)
    rewrite(saved, tensors, cell_settings={"filters": 10**5 if is_forged else 10**7})
    monkeypatch.setattr("models.segmenter.build_backbone", lambda settings: pytest.fail("a backbone was built"))
    assert "by the configuration" in refusal(saved)


def test_a_model_from_before_there_were_digests_is_read(saved):
    expected = logits_of(Segmenter.from_pretrained(saved).eval())
    rewrite(saved)
    assert torch.equal(logits_of(Segmenter.from_pretrained(saved).eval()), expected)


# Operators of one's own


@dataclass(frozen=True)
class Doubled:
    """An operator of a user's own."""

    def to_json(self):
        return {"op": "doubled"}

    @classmethod
    def from_json(cls, entry):
        return cls() if entry.get("op") == "doubled" else None


@build_operator.register
def _(operator: Doubled, in_channels, settings):
    return nn.Conv2d(in_channels, settings.filters, kernel_size=1)


def test_a_model_with_an_operator_of_ones_own_comes_back_and_changes_its_stride(tmp_path):
    own = CellSpec((Branch(-1, Doubled()), Branch(0, Conv1x1())))
    backbone = BackboneSettings("tu-mobilenetv2_100")
    model = Segmenter(own, 3, backbone, CellSettings(filters=8), class_names=["a", "b", "c"], palette=[(0, 0, 1)] * 3).eval()
    model.save_pretrained(tmp_path)
    kinds = (Doubled, *PUBLISHED_OPERATORS)
    loaded = Segmenter.from_pretrained(tmp_path, operators=kinds).eval()
    assert loaded.cell.spec == own
    assert torch.equal(logits_of(loaded), logits_of(model))
    fine = Segmenter.from_pretrained(tmp_path, 8, kinds)
    assert fine.config["backbone"]["output_stride"] == fine.config["cell_settings"]["output_stride"] == 8
    unchanged = ("cell", "num_classes", "decoder", "class_names", "palette")
    assert [fine.config[key] for key in unchanged] == [model.config[key] for key in unchanged]
    assert "operators of your own: space.operators, in Python operators=" in refusal(tmp_path)
