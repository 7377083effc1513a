import pytest
import torch
from safetensors.torch import save_file

from models.backbones import BackboneError
from models.pretrained import settle
from models.settings import BackboneChoice

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def used(**choice):
    settings = settle(BackboneChoice(**choice)).settings
    return settings.mean, settings.std


def saved(path, **metadata):
    save_file({"weight": torch.zeros(1)}, path, metadata=metadata)
    return str(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tu-mobilenetv2_100", IMAGENET),
        ("tu-xception65", HALVES),
        ("tu-tf_efficientnetv2_b0", IMAGENET),
    ],
)
def test_weights_of_the_hub_are_normalised_as_their_library_says(name, expected):
    assert used(name=name, weights="hub") == expected


def test_smps_weights_of_the_hub_are_normalised_as_the_description_beside_them_says(monkeypatch):
    described = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "input_space": "RGB", "input_range": [0, 1]}
    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_preprocessing_params", lambda name, weights: described)
    assert used(name="resnet18", weights="hub") == ((0.1, 0.2, 0.3), (1, 1, 1))
    described["input_space"] = "BGR"
    with pytest.raises(BackboneError, match="smp's weights of resnet18 want BGR of .*; this project gives RGB of 0 to 1"):
        settle(BackboneChoice("resnet18", weights="hub"))


def test_an_unknown_encoder_of_the_hub_is_refused_with_close_ones():
    with pytest.raises(BackboneError, match="no encoder 'tu-mobilnetv2_100'; did you mean tu-mobilenetv2_100"):
        settle(BackboneChoice("tu-mobilnetv2_100", weights="hub"))


def test_a_file_is_normalised_as_its_metadata_says(tmp_path):
    listed = saved(tmp_path / "listed.safetensors", mean="0.1,0.2,0.3", std="[0.4, 0.5, 0.6]", pad_type="same")
    settled = settle(BackboneChoice("tu-resnet18", weights=listed))
    assert (settled.settings.mean, settled.settings.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert settled.settings.pad_type == "same"
    assert str(settled) == (
        f"Backbone tu-resnet18, weights {listed}: mean 0.1 0.2 0.3, std 0.4 0.5 0.6, padding same (the file's metadata)"
    )


def test_a_file_that_says_nothing_needs_the_settings_to_say_it(tmp_path):
    path = saved(tmp_path / "mute.safetensors")
    with pytest.raises(BackboneError, match=f"backbone.mean: {path} does not say what its images were normalised by; give"):
        settle(BackboneChoice("tu-resnet18", weights=path))
    assert used(name="tu-resnet18", weights=path, mean=[0, 0, 0], std=[1, 1, 1]) == ((0, 0, 0), (1, 1, 1))


def test_random_weights_take_images_from_minus_1_to_1():
    assert used(name="local") == HALVES


def test_what_the_settings_say_is_used_and_a_contradiction_is_said(tmp_path):
    settled = settle(BackboneChoice("tu-mobilenetv2_100", weights="hub", mean=[0.5, 0.5, 0.5], std=list(IMAGENET[1])))
    assert settled.settings.mean == (0.5, 0.5, 0.5)
    assert settled.contradictions == [
        "backbone.mean: [0.5,0.5,0.5] is used, but timm's description of these weights says [0.485,0.456,0.406]"
    ]
    assert str(settled).endswith("(as given)")


@pytest.mark.parametrize("text", ["", "0.5", "a,b,c", "0.5,0.5,0.5,0.5", '{"r": 1}'])
def test_metadata_that_is_not_three_numbers_is_refused(text, tmp_path):
    path = saved(tmp_path / "odd.safetensors", mean=text, std="1,1,1")
    with pytest.raises(BackboneError, match=f"{path} says mean .* which is not three numbers"):
        settle(BackboneChoice("tu-resnet18", weights=path))
