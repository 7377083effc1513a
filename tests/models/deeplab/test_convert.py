"""Models made of DeepLab's checkpoints, against DeepLab's network written down plainly, in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from models.backbones import build_backbone
from models.deeplab import names
from models.deeplab.checkpoint import CheckpointError
from models.deeplab.convert import Weights, convert
from models.settings import BackboneSettings
from models.spec import CellSpec
from search.conf_files import CONF
from tests.models.deeplab.checkpoints import ENTRY_65, ENTRY_71, Made, write_bundle
from tests.models.test_backbones import REAL_WEIGHTS, needs_real_weights

DPC, ASPP = (CellSpec.read(CONF / "cell" / f"{name}.json") for name in ("dpc_top1", "aspp"))
POOLING = CellSpec.from_json([{"op": "pyramid_pooling", "grid_size": [2, 2], "input": -1}] * 5)

pytestmark = pytest.mark.usefixtures("one_thread")


def model_of(checkpoint, dpc=DPC, aspp=ASPP):
    weights = Weights(checkpoint)
    variant = weights.variant()
    return weights.model(BackboneSettings(variant.backbone, pad_type=variant.pad_type), variant, dpc, aspp)


class Plain:
    """DeepLab's layers by their scopes (research/deeplab: model.py, core/xception.py, core/dense_prediction_cell.py)."""

    def __init__(self, checkpoint, eps=1e-3):
        self.checkpoint, self.eps = checkpoint, eps

    def weight(self, name, order):
        return torch.from_numpy(self.checkpoint.tensor(name)).double().permute(*order)

    def norm(self, maps, scope):
        gamma, beta, mean, variance = (
            torch.from_numpy(self.checkpoint.tensor(f"{scope}/BatchNorm/{name}")).double().view(-1, 1, 1)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (maps - mean) / (variance + self.eps).sqrt() * gamma + beta

    def conv(self, maps, scope, stride=1):
        weight = self.weight(f"{scope}/weights", (3, 2, 0, 1))
        return self.norm(F.conv2d(maps, weight, stride=stride, padding=weight.shape[-1] // 2), scope)

    def depthwise(self, maps, scope, stride=1, rate=(1, 1)):
        weight = self.weight(f"{scope}/depthwise_weights", (2, 3, 0, 1))
        return self.norm(F.conv2d(maps, weight, None, stride, rate, rate, len(weight)), scope)

    def separable(self, maps, scope, stride=1, rate=(1, 1), activation=F.relu):
        return activation(self.conv(activation(self.depthwise(maps, f"{scope}_depthwise", stride, rate)), f"{scope}_pointwise"))

    def mobilenet(self, images):
        maps = F.relu6(self.conv(images, "MobilenetV2/Conv", 2))
        for number in range(17):
            scope, given = f"MobilenetV2/expanded_conv{f'_{number}' if number else ''}", maps
            if number:
                maps = F.relu6(self.conv(maps, f"{scope}/expand"))
            stride, rate = 2 if number in (1, 3, 6) else 1, (2, 2) if number > 13 else (1, 1)
            maps = self.conv(F.relu6(self.depthwise(maps, f"{scope}/depthwise", stride, rate)), f"{scope}/project")
            maps = maps + given if maps.shape == given.shape else maps
        return maps

    def xception(self, images, name, entry, middle):
        """The features, and those that the decoder reads."""
        maps = F.relu(self.conv(images, f"{name}/entry_flow/conv1_1", 2))
        maps = F.relu(self.conv(maps, f"{name}/entry_flow/conv1_2"))
        inner = {}
        for block in range(1, entry + 1):
            maps, inner[block] = self.module(maps, f"{name}/entry_flow/block{block}/unit_1", 2, "conv")
        for unit in range(1, middle + 1):
            maps, _ = self.module(maps, f"{name}/middle_flow/block1/unit_{unit}", 1, "sum")
        maps, _ = self.module(maps, f"{name}/exit_flow/block1/unit_1", 1, "conv")
        for order in (1, 2, 3):
            scope = f"{name}/exit_flow/block2/unit_1/xception_module/separable_conv{order}"
            maps = self.separable(maps, scope, rate=(2, 2))
        return maps, inner[2]

    def module(self, given, unit, stride, skip):
        scope, maps = f"{unit}/xception_module", given
        for order in (1, 2, 3):
            inner = maps
            maps = self.separable(
                F.relu(maps), f"{scope}/separable_conv{order}", stride if order == 3 else 1, activation=lambda x: x
            )
        return maps + (self.conv(given, f"{scope}/shortcut", stride) if skip == "conv" else given), inner

    def pooled(self, maps, scope):
        return F.relu(self.conv(maps.mean(dim=(2, 3), keepdim=True), scope)).expand(-1, -1, *maps.shape[-2:])

    def logits(self, maps, images):
        weight = self.weight("logits/semantic/weights", (3, 2, 0, 1))
        logits = F.conv2d(maps, weight, torch.from_numpy(self.checkpoint.tensor("logits/semantic/biases")).double())
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)


IMAGES_BCHW = torch.randn(2, 3, 65, 49, generator=torch.Generator().manual_seed(0))


def assert_near(found, expected):
    assert found.shape == expected.shape
    assert (found.double() - expected).norm() < 1e-4 * (expected - expected.mean()).norm()


def test_a_mobilenet_with_its_head_labels_as_deeplab_does():
    checkpoint = Made().mobilenet().pooled_head().classifier(21)
    backbone, head = Plain(checkpoint), Plain(checkpoint, eps=1e-5)
    features = backbone.mobilenet(IMAGES_BCHW.double())
    joined = torch.cat([head.pooled(features, "image_pooling"), F.relu(head.conv(features, "aspp0"))], dim=1)
    expected = head.logits(F.relu(head.conv(joined, "concat_projection")), IMAGES_BCHW)
    with torch.inference_mode():
        assert_near(model_of(checkpoint).eval()(IMAGES_BCHW), expected)


def test_an_xception_with_cell_and_decoder_labels_as_deeplab_does():
    checkpoint = Made().xception("xception_41", ENTRY_65, 8).dpc().decoder().classifier(19)
    backbone, head = Plain(checkpoint), Plain(checkpoint, eps=1e-5)
    features, finer = backbone.xception(IMAGES_BCHW.double(), "xception_41", 3, 8)
    branches = []
    for number, branch in enumerate(DPC.branches):
        given = features if branch.input < 0 else branches[branch.input]
        branches.append(head.separable(given, f"meta_architecture/branch{number}", rate=branch.operator.rate))
    maps = F.relu(head.conv(torch.cat(branches, dim=1), "meta_architecture/concat_projection"))
    finer = F.relu(head.conv(finer, "decoder/feature_projection0"))
    raised = F.interpolate(maps, finer.shape[-2:], mode="bilinear", align_corners=True)
    maps = head.separable(torch.cat([raised, finer], dim=1), "decoder/decoder_conv0")
    expected = head.logits(head.separable(maps, "decoder/decoder_conv1"), IMAGES_BCHW)
    with torch.inference_mode():
        assert_near(model_of(checkpoint).eval()(IMAGES_BCHW), expected)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Made().xception("xception_65", ENTRY_65, 16).aspp().decoder().classifier(21),
        Made().xception("xception_71", ENTRY_71, 16).dpc().decoder().classifier(19),
    ],
    ids=["xception_65, ASPP", "xception_71, DPC"],
)
def test_every_name_and_shape_of_the_larger_ones_has_its_place(checkpoint):
    with torch.device("meta"):
        model = model_of(checkpoint)
    assert model.decoder is not None
    assert len(model.cell.spec) == 5


@pytest.mark.parametrize(
    ("checkpoint", "cells", "reason"),
    [
        (Made().pooled_head(), (DPC, ASPP), "no backbone that is known; accepted are MobilenetV2, xception_41"),
        (Made().mobilenet().pooled_head().classifier(21).aspp(), (DPC, ASPP), "aspp0/weights is .* does not fit"),
        (Made().mobilenet().dpc().classifier(21), (POOLING, ASPP), "cell: DeepLab's pyramid pooling is another operator"),
        (Made().mobilenet().dpc().classifier(21), (ASPP, ASPP), "cell= names another cell"),
    ],
)
def test_what_does_not_fit_is_refused(checkpoint, cells, reason):
    with torch.device("meta"), pytest.raises(CheckpointError, match=reason):
        model_of(checkpoint, *cells)


def test_a_tensor_that_has_no_place_is_refused():
    checkpoint = Made().mobilenet().pooled_head().classifier(21)
    checkpoint.conv("aspp1", 320, 256)
    with (
        torch.device("meta"),
        pytest.raises(CheckpointError, match="5 of its tensors have no place in the model, the first is aspp1"),
    ):
        model_of(checkpoint)


@needs_real_weights
def test_the_shared_weights_come_back_from_a_checkpoint_of_theirs(tmp_path):
    """Their names are another conversion's, of Google's TensorFlow Lite file: a layer that took another's place would show."""
    state = load_file(REAL_WEIGHTS[0])
    tensors = {}
    for layer in next(v for v in names.VARIANTS if v.scope == "MobilenetV2").layers():
        weight = state[f"{layer.convolution.removeprefix('encoder.model.')}.weight"].float().numpy()
        is_depthwise = weight.shape[1] == 1 and weight.shape[2] == 3
        kind, order = ("depthwise_weights", (2, 3, 0, 1)) if is_depthwise else ("weights", (2, 3, 1, 0))
        tensors[f"{layer.scope}/{kind}"] = weight.transpose(order)
        own = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        for name, key in own.items():
            value = state[f"{layer.norm.removeprefix('encoder.model.')}.{key}"].float().numpy()
            tensors[f"{layer.scope}/BatchNorm/{name}"] = value - np.float32(1e-3 - 1e-5) * (name == "moving_variance")
    write_bundle(tmp_path / "model.ckpt", tensors)
    file = convert(tmp_path / "model.ckpt", tmp_path / "made", DPC, ASPP)
    encoders = [
        build_backbone(BackboneSettings("tu-mobilenetv2_100", weights=str(path), pad_type="same")).eval()
        for path in (file, REAL_WEIGHTS[0])
    ]
    with torch.inference_mode():
        assert_near(encoders[0](IMAGES_BCHW)[-1], encoders[1](IMAGES_BCHW)[-1].double())
