"""Activations that are computed again: gradients and statistics are those of a step that keeps them."""

from collections import OrderedDict

import pytest
import torch
from timm.models._features import FeatureHooks

from models.backbones import build_backbone
from models.settings import BackboneSettings
from training.recomputed import recompute_blocks

pytestmark = pytest.mark.usefixtures("one_thread")


def step(name, is_recomputed):
    """Gradients and statistics after a step of an encoder, and the bytes that were kept for its backward pass."""
    encoder = build_backbone(BackboneSettings(name)).train()
    if is_recomputed:
        recompute_blocks(encoder)
    images_BCHW = torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        maps = encoder(images_BCHW)
    (maps[-1].square().sum() + maps[2].square().sum()).backward()
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in encoder.named_parameters()}
    return {**encoder.state_dict(), **gradients}, sum(kept)


@pytest.mark.parametrize("name", ["tu-mobilenetv3_small_100", "tu-resnet18", "resnet18", "tu-xception41"])
def test_a_step_that_recomputes_has_the_same_gradients_and_statistics_and_keeps_less(name):
    (expected, all_kept), (found, kept) = step(name, False), step(name, True)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert kept < all_kept / 2


def test_an_encoder_that_finds_its_maps_by_hooks_gives_them_in_order_at_every_step(monkeypatch):
    """As timm 1.0.26 has it: in the order in which they were collected."""

    def collected(hooks, device):
        maps, hooks._feature_outputs[device] = hooks._feature_outputs[device], OrderedDict()
        return maps

    monkeypatch.setattr(FeatureHooks, "get_output", collected)
    encoder = build_backbone(BackboneSettings("tu-xception41")).train()
    recompute_blocks(encoder)
    images_BCHW = torch.randn(2, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        maps = encoder(images_BCHW)
        assert [map_BCHW.shape[1] for map_BCHW in maps] == encoder.out_channels
        sum(map_BCHW.square().mean() for map_BCHW in maps[1:]).backward()
        assert not any(encoder.model.hooks._feature_outputs.values()), "nothing is held between steps"


def test_an_encoder_without_blocks_is_refused():
    with pytest.raises(ValueError, match="training.activation_checkpointing: must be false, this backbone has no blocks"):
        recompute_blocks(torch.nn.Conv2d(3, 3, kernel_size=1))


def test_without_gradients_nothing_is_recomputed():
    encoder = build_backbone(BackboneSettings("local")).train()
    images_BCHW = torch.ones(1, 3, 65, 65)
    expected = encoder(images_BCHW)[-1]
    recompute_blocks(encoder)
    with torch.no_grad():
        assert torch.equal(encoder(images_BCHW)[-1], expected)
