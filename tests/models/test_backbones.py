from dataclasses import replace
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.backbones import BackboneError, build_backbone, features_of, pad_symmetrically, weights_digest
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import CellSpec

MOBILENET = BackboneSettings("tu-mobilenetv2_100")
LOCAL = BackboneSettings("local")
CELL = CellSpec.from_json([{"op": "conv", "kernel": 1, "input": -1}])
REAL_WEIGHTS = sorted((Path(__file__).parents[3] / "shared" / "weights").glob("mobilenetv2_100_*.safetensors"))
needs_real_weights = pytest.mark.skipif(not REAL_WEIGHTS, reason="no ../shared/weights/mobilenetv2_100_*.safetensors")


@torch.inference_mode()
def features(settings, height_px, width_px):
    images_BCHW = torch.randn(1, 3, height_px, width_px, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    return features_of(build_backbone(settings).eval(), images_BCHW)


def refusal(settings):
    with pytest.raises(BackboneError) as caught:
        build_backbone(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("output_stride", [8, 16])
def test_tensorflows_padding_can_be_made_symmetric_where_both_agree(output_stride):
    same, symmetric = (
        build_backbone(replace(MOBILENET, pad_type="same", output_stride=output_stride)).eval() for _ in range(2)
    )
    pad_symmetrically(symmetric)
    for size_px, is_equal in ((97, True), (113, True), (96, False)):
        images_BCHW = torch.randn(1, 3, size_px, 129)
        with torch.inference_mode():
            assert torch.equal(features_of(same, images_BCHW), features_of(symmetric, images_BCHW)) == is_equal


@pytest.mark.parametrize(
    ("name", "output_stride", "size_px", "expected"),
    [
        ("tu-mobilenetv2_100", 16, (369, 481), (320, 24, 31)),
        ("tu-mobilenetv2_100", 8, (97, 129), (320, 13, 17)),
        ("resnet18", 16, (97, 129), (512, 7, 9)),
        ("resnet18", 8, (97, 129), (512, 13, 17)),
        ("local", 16, (97, 129), (96, 7, 9)),
    ],
)
def test_a_feature_lies_on_every_16th_or_8th_pixel_of_a_padded_image(name, output_stride, size_px, expected):
    features_BCHW = features(BackboneSettings(name, output_stride), *size_px)
    assert features_BCHW.shape == (1, *expected)
    assert features_BCHW.isfinite().all()
    assert features_BCHW.std() > 0


@pytest.mark.parametrize("name", ["tu-mobilenetv2_100", "resnet18", "mobilenet_v2"])
def test_every_other_feature_at_stride_8_is_one_at_16(name):
    """A convolution that lost its stride must keep the dilation from before; timm has it so, smp by itself has not."""
    coarse, fine = (build_backbone(BackboneSettings(name, stride)).eval() for stride in (16, 8))
    fine.load_state_dict(coarse.state_dict())
    images_BCHW = torch.randn(1, 3, 97, 129, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        coarse_BCHW, fine_BCHW = (features_of(backbone, images_BCHW) for backbone in (coarse, fine))
    assert (fine_BCHW[..., ::2, ::2] - coarse_BCHW).norm() < 1e-5 * coarse_BCHW.norm()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_every_other_feature_of_smps_encoders_at_stride_16_is_one_that_they_were_trained_to_give(name):
    dilated, trained = build_backbone(BackboneSettings(name)).eval(), smp.encoders.get_encoder(name, weights=None).eval()
    trained.load_state_dict(dilated.state_dict())
    images_BCHW = torch.randn(1, 3, 97, 129, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        dilated_BCHW, trained_BCHW = (features_of(backbone, images_BCHW) for backbone in (dilated, trained))
    assert (dilated_BCHW[..., ::2, ::2] - trained_BCHW).norm() < 1e-5 * trained_BCHW.norm()


@pytest.mark.parametrize("name", ["tu-mobilenetv2_100", "resnet18", "local"])
def test_a_backbone_gives_the_input_and_one_map_a_stage_with_the_channels_it_says(name):
    backbone = build_backbone(BackboneSettings(name)).eval()
    images_BCHW = torch.randn(1, 3, 97, 97)
    with torch.inference_mode():
        maps = backbone(images_BCHW)
    assert torch.equal(maps[0], images_BCHW)
    assert [map_BCHW.shape[1] for map_BCHW in maps] == backbone.out_channels
    assert maps[2].shape[-2:] == (25, 25)  # stride 4, which the decoder takes


@pytest.mark.parametrize("name", ["tu-xception65", "tu-xception71"])
def test_the_papers_xception_ends_in_2048_channels(name):
    with torch.device("meta"):
        backbone = build_backbone(BackboneSettings(name))
        assert features_of(backbone.eval(), torch.empty(1, 3, 65, 97)).shape == (1, 2048, 5, 7)


# Weights that are random


@pytest.mark.parametrize("settings", [MOBILENET, LOCAL], ids=lambda settings: settings.name)
def test_the_same_settings_give_the_same_weights_and_another_seed_gives_others(settings):
    torch.manual_seed(1)
    first = weights_digest(build_backbone(settings))
    torch.manual_seed(2)
    assert weights_digest(build_backbone(settings)) == first
    assert weights_digest(build_backbone(replace(settings, seed=1))) != first


def test_building_a_backbone_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build_backbone(MOBILENET)
    assert torch.equal(torch.rand(3), expected)


def test_the_digest_changes_with_one_parameter_or_one_running_statistic():
    backbone = build_backbone(MOBILENET)
    digests = {weights_digest(backbone)}
    norm = next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        for tensor in (norm.weight, norm.running_mean):
            tensor[0] += 0.5
            digests.add(weights_digest(backbone))
    assert len(digests) == 3


# Weights from a file


@pytest.mark.parametrize("settings", [replace(MOBILENET, seed=3), replace(LOCAL, seed=3)], ids=lambda settings: settings.name)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_saved_weights_come_back_exactly_in_timms_naming_and_in_smps(settings, prefix, tmp_path):
    saved = build_backbone(settings)
    path = tmp_path / "weights.safetensors"
    if settings.name == "local":
        state = saved.state_dict()
    else:
        state = {prefix + name.removeprefix("model."): tensor for name, tensor in saved.state_dict().items()}
    save_file(state, path)
    loaded = build_backbone(replace(settings, weights=str(path), seed=0))
    assert weights_digest(loaded) == weights_digest(saved)


def test_what_a_file_has_beyond_the_encoder_is_left_out(tmp_path):
    saved = build_backbone(LOCAL)
    save_file({**saved.state_dict(), "classifier.weight": torch.zeros(3)}, tmp_path / "weights.safetensors")
    loaded = build_backbone(replace(LOCAL, seed=1, weights=str(tmp_path / "weights.safetensors")))
    assert weights_digest(loaded) == weights_digest(saved)


@pytest.mark.parametrize("name", ["xception41", "repvgg_a0"])
def test_a_file_of_timms_own_model_gives_that_models_features(name, tmp_path):
    """Also where timm's encoder has other names for them: Xception's ``stem.0`` is ``stem_0`` there."""
    theirs = timm.create_model(name, output_stride=16).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = build_backbone(BackboneSettings(f"tu-{name}", weights=str(tmp_path / "model.safetensors"))).eval()
    images_BCHW = torch.randn(1, 3, 65, 81)
    with torch.inference_mode():
        assert torch.equal(features_of(ours, images_BCHW), theirs.forward_features(images_BCHW))
    save_file(ours.state_dict(), tmp_path / "encoder.safetensors")
    again = build_backbone(BackboneSettings(f"tu-{name}", weights=str(tmp_path / "encoder.safetensors")))
    assert weights_digest(again) == weights_digest(ours)


def test_the_backbone_of_a_retrained_model_is_read_from_its_file(tmp_path):
    model = Segmenter(CELL, 2, replace(LOCAL, seed=3), CellSettings(filters=8))
    model.save_pretrained(tmp_path)
    loaded = build_backbone(replace(LOCAL, weights=str(tmp_path / "model.safetensors")))
    assert weights_digest(loaded) == weights_digest(model.encoder)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    assert "model.safetensors is damaged" in refusal(replace(LOCAL, weights=str(tmp_path / "model.safetensors")))


def test_a_missing_weights_file_is_named_with_what_is_accepted(tmp_path):
    message = refusal(replace(MOBILENET, weights=str(tmp_path / "none.safetensors")))
    assert message.startswith(f"backbone.weights: no file {tmp_path}/none.safetensors; accepted are")


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95pickle", b"\xff" * 64, b'{"a": 1}' * 9])
def test_a_file_that_is_no_safetensors_is_named(content, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    assert f"{path} is not a safetensors file" in refusal(replace(LOCAL, weights=str(path)))


def test_a_truncated_weights_file_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone(LOCAL).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} is not a safetensors file" in refusal(replace(LOCAL, weights=str(path)))


def test_weights_of_another_architecture_are_refused_with_the_first_tensor_that_is_missing(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone(LOCAL).state_dict(), path)
    message = refusal(replace(MOBILENET, weights=str(path)))
    assert "306 of 306 tensors are missing, the first is model.conv_stem.weight" in message


def test_weights_of_another_shape_are_refused_with_both_shapes(tmp_path):
    path = tmp_path / "weights.safetensors"
    state = build_backbone(LOCAL).state_dict()
    save_file({**state, "stages.2.weight": torch.zeros(64, 32, 1, 1)}, path)
    assert refusal(replace(LOCAL, weights=str(path))).endswith(
        "does not fit: stages.2.weight is (64, 32, 1, 1), the encoder has (64, 32, 3, 3)."
    )


# Settings that cannot be


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("tu-mobilnetv2_100", "tu-mobilenetv2_100"), ("resnet81", "resnet18"), ("zzzz", "accepted are tu-<timm model>")],
)
def test_an_unknown_name_is_refused_with_close_ones(name, suggested):
    message = refusal(BackboneSettings(name))
    assert message.startswith(f"backbone.name: no encoder {name!r}; ")
    assert suggested in message


@pytest.mark.parametrize(
    ("name", "output_stride", "pad_type"),
    [
        ("vgg11", 16, None),
        ("tu-vit_tiny_patch16_224", 16, None),
        ("resnet18", 4, None),
        ("local", 8, None),
        ("resnet18", 16, "same"),
        ("tu-resnet18", 16, "same"),
        ("local", 16, "same"),
    ],
)
def test_a_backbone_that_cannot_have_the_output_stride_or_the_padding_is_refused(name, output_stride, pad_type):
    assert refusal(BackboneSettings(name, output_stride, pad_type=pad_type)).startswith("backbone")


# The weights that were trained with TensorFlow's padding


@needs_real_weights
@pytest.mark.parametrize("path", REAL_WEIGHTS, ids=lambda path: path.stem)
def test_real_weights_load_exactly(path):
    stored = load_file(path)
    for name, tensor in build_backbone(replace(MOBILENET, weights=str(path))).state_dict().items():
        assert torch.equal(tensor, stored[name.removeprefix("model.")].to(tensor.dtype))


@needs_real_weights
def test_both_paddings_agree_bit_for_bit_on_padded_images_and_only_there():
    same, own = (replace(MOBILENET, weights=str(REAL_WEIGHTS[0]), pad_type=pad_type) for pad_type in ("same", None))
    assert torch.equal(features(same, 369, 481), features(own, 369, 481))
    unpadded, other = features(same, 180, 240), features(own, 180, 240)
    assert unpadded.shape == other.shape
    assert (unpadded - other).norm() > 0.1 * other.norm()
