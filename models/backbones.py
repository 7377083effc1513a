"""Backbones: any timm or segmentation-models-pytorch encoder at the output stride that a cell wants."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models.backbone_check import BackboneError, check_backbone
from models.cost import FeatureShape
from models.dilation import dilate
from models.geometry import misplaced
from models.grid import num_features
from models.local_encoder import LocalEncoder
from models.pretrained import require_known
from models.settings import HUB, LOCAL, BackboneSettings
from models.tensor_file import read_tensors
from models.xception import give_features_before_relu


def build_backbone(settings: BackboneSettings) -> nn.Module:
    """An encoder with smp's habits: ``forward(images_BCHW)`` gives one map a stage, ``out_channels`` their channels.

    Raises:
        BackboneError: the name is unknown, the output stride is not supported, features do not lie on every so many-th pixel
            of padded images, or the weights are missing or do not fit.
    """
    check_backbone(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = _build_encoder(settings)
    _check_geometry(encoder, settings)
    if settings.weights not in (None, HUB):
        _load_weights(encoder, Path(settings.weights), is_timm=settings.name.startswith("tu-"))
    return encoder


def channels_of(encoder: nn.Module) -> list[int]:
    """Of each map that an encoder gives, the input first: smp's attribute, of which torch knows no type."""
    return cast(list[int], encoder.out_channels)


def feature_shape(encoder: nn.Module, output_stride: int, height_px: int, width_px: int) -> FeatureShape:
    """Of its last map, of images of that size."""
    return FeatureShape(channels_of(encoder)[-1], num_features(height_px, output_stride), num_features(width_px, output_stride))


def features_of(backbone: nn.Module, images_BCHW: Tensor) -> Tensor:
    """The last feature map, (B, channels, H, W), of normalised images."""
    return backbone(images_BCHW)[-1]


def pad_symmetrically(backbone: nn.Module) -> None:
    """Give convolutions with TensorFlow's padding a fixed one: on sides of a multiple of the output stride plus 1 both agree.

    TensorFlow's depends on the size of the map, which exporters cannot follow where it is not known.
    """
    from timm.layers.conv2d_same import Conv2dSame

    for module in list(backbone.modules()):
        for place, child in module.named_children():
            if isinstance(child, Conv2dSame):
                padding = [(size - 1) // 2 * rate for size, rate in zip(child.kernel_size, child.dilation, strict=True)]
                settings = ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups")
                same: dict[str, Any] = {name: getattr(child, name) for name in settings}
                symmetric = nn.Conv2d(**same, padding=(padding[0], padding[1]))
                symmetric.weight, symmetric.bias = child.weight, child.bias
                setattr(module, place, symmetric)


def weights_digest(backbone: nn.Module) -> str:
    """A digest of every parameter and buffer, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _build_encoder(settings: BackboneSettings) -> nn.Module:
    if settings.name == LOCAL:
        return LocalEncoder(seed=settings.seed)
    import segmentation_models_pytorch as smp

    require_known(settings.name)
    is_timm = settings.name.startswith("tu-")
    weights: str | bool | None = None
    if settings.weights == HUB:
        weights = True if is_timm else "imagenet"
    arguments: dict[str, Any] = {"output_stride": settings.output_stride} if is_timm else {}
    if settings.pad_type:
        arguments["pad_type"] = settings.pad_type
    try:
        encoder = smp.encoders.get_encoder(settings.name, weights=weights, **arguments)
        if not is_timm:
            dilate(encoder, settings.output_stride)
    except Exception as error:  # timm and smp raise whatever their hub client or the model's constructor raises
        reason = str(error) or "it has no such form"
        raise BackboneError(f"backbone {settings.name} at output stride {settings.output_stride}: {reason}") from error
    if settings.name.startswith("tu-xception"):
        give_features_before_relu(encoder)
    return encoder


def _check_geometry(encoder: nn.Module, settings: BackboneSettings) -> None:
    """Once for each architecture, where weights have values: others show less."""
    architecture = (settings.name, settings.output_stride, settings.pad_type, next(encoder.parameters()).is_meta)
    if architecture not in _REASONS:
        _REASONS[architecture] = misplaced(encoder, settings.output_stride)
    if reason := _REASONS[architecture]:
        raise BackboneError(
            f"backbone.name: {settings.name} does not fit ({reason}); docs/backbones.md lists encoders that do."
        )


_REASONS: dict[tuple[str, int, str | None, bool], str] = {}
"""Of architectures that were tried."""


def _load_weights(encoder: nn.Module, path: Path, is_timm: bool) -> None:
    """Load a file whose keys cover the encoder, or a model that was retrained; what it has beyond that is left out."""
    try:
        state, _ = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"backbone.weights: {path} is damaged ({error}).") from error
    if any(key.startswith("encoder.") for key in state):
        state = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    wanted = encoder.state_dict()
    if is_timm:
        state = _under_names_of(wanted, state)
    _check_fit(path, wanted, state)
    encoder.load_state_dict({key: state[key] for key in wanted})


def _under_names_of(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of timm's model, or of its encoder, under the names that the encoder has.

    Some of timm's encoders flatten the outer sequences of their models: ``stem.0.conv`` is ``stem_0.conv`` there.
    """
    names = {_flat(key): key for key in wanted}
    return {names.get(_flat(f"model.{key.removeprefix('model.')}"), key): value for key, value in state.items()}


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _check_fit(path: Path, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    missing = [key for key in wanted if key not in state]
    if missing:
        raise BackboneError(
            f"backbone.weights: {path} does not fit: {len(missing)} of {len(wanted)} tensors are missing, "
            f"the first is {missing[0]}."
        )
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape:
            raise BackboneError(
                f"backbone.weights: {path} does not fit: {key} is {tuple(state[key].shape)}, "
                f"the encoder has {tuple(tensor.shape)}."
            )
