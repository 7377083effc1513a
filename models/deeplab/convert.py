"""DeepLab's released models as this project's."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from models.backbones import build_backbone
from models.deeplab import names
from models.deeplab.checkpoint import Checkpoint, CheckpointError
from models.deeplab.names import Layer, Variant
from models.segmenter import Segmenter
from models.settings import WEIGHTS_FILE, BackboneSettings, CellSettings
from models.spec import Branch, CellSpec, Conv1x1, PyramidPooling
from models.tensor_file import write_tensors

POOLED = CellSpec((Branch(-1, Conv1x1()), Branch(-1, PyramidPooling((1, 1)))))
"""ASPP without atrous convolutions, as MobileNet-v2's checkpoints have it."""
BACKBONE_FILE = "backbone.safetensors"
_EPS = 1e-3
"""Of DeepLab's backbones' batch norm; its heads' is torch's own."""


def convert(path: Path, folder: Path, dpc: CellSpec, aspp: CellSpec) -> Path:
    """Write a checkpoint's model to ``folder``, or its backbone where it has no head.

    Args:
        path: of the checkpoint, without ``.index``.
        dpc: that the head is, if it is a Dense Prediction Cell: checkpoints do not say their rates.
        aspp: that it is, if it is ASPP with atrous branches.

    Returns:
        The file: of a whole model, or of weights for ``backbone.weights``.

    Raises:
        CheckpointError: it is no checkpoint of DeepLab's, has another cell, or is damaged.
    """
    weights = Weights(Checkpoint(path))
    variant = weights.variant()
    settings = BackboneSettings(variant.backbone, pad_type=variant.pad_type)  # images from -1 to 1, as random weights take them
    folder.mkdir(parents=True, exist_ok=True)
    if f"{names.CLASSIFIER}/weights" not in weights.shapes:
        encoder = nn.ModuleDict({"encoder": build_backbone(settings)})
        weights.fill(encoder, variant.layers())
        weights.check_used()
        said = {"mean": ",".join(map(str, settings.mean)), "std": ",".join(map(str, settings.std))}
        said |= {"pad_type": settings.pad_type} if settings.pad_type else {}
        write_tensors(folder / BACKBONE_FILE, encoder["encoder"].state_dict(), said)
        return folder / BACKBONE_FILE
    model = weights.model(settings, variant, dpc, aspp)
    model.save_pretrained(folder)
    return folder / WEIGHTS_FILE


class Weights:
    """A checkpoint's tensors, under TensorFlow's names, on their way into torch's modules."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.shapes = {name: entry.shape for name, entry in checkpoint.entries.items() if not name.endswith(names.SLOTS)}
        self._unused = {name for name in self.shapes if not name.startswith(names.LEFT_OUT)}

    def variant(self) -> Variant:
        """The backbone that it has."""
        for variant in names.VARIANTS:
            if any(name.startswith(f"{variant.scope}/") for name in self.shapes):
                return variant
        known = ", ".join(variant.scope for variant in names.VARIANTS)
        raise CheckpointError(f"checkpoint: it has no backbone that is known; accepted are {known}.")

    def model(self, settings: BackboneSettings, variant: Variant, dpc: CellSpec, aspp: CellSpec) -> Segmenter:
        """The whole model."""
        has = {start: any(name.startswith(start) for name in self.shapes) for start in (names.DPC, names.DECODER, "aspp1_")}
        cell = dpc if has[names.DPC] else aspp if has["aspp1_"] else POOLED
        if has[names.DPC] and any(isinstance(b.operator, PyramidPooling) and b.operator.grid != (1, 1) for b in cell.branches):
            raise CheckpointError(
                "cell: DeepLab's pyramid pooling is another operator than the paper's, except in a grid of 1x1."
            )
        scope = names.DPC if has[names.DPC] else ""
        filters, num_classes = (self._shape(f"{name}/weights")[-1] for name in (f"{scope}concat_projection", names.CLASSIFIER))
        model = Segmenter(cell, num_classes, settings, CellSettings(filters), has[names.DECODER])
        layers = [
            *variant.layers(),
            *names.cell_layers(cell, self.shapes),
            *(names.decoder_layers() if has[names.DECODER] else ()),
        ]
        self.fill(model, layers)
        if not has[names.DPC]:
            self._order_inputs(model, cell)
        self._copy(model.classifier.weight, f"{names.CLASSIFIER}/weights")
        assert model.classifier.bias is not None
        self._copy(model.classifier.bias, f"{names.CLASSIFIER}/biases")
        self.check_used()
        return model

    @torch.no_grad()
    def fill(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        """Copy the layers' weights and statistics, whose names cover the model but for its classifier."""
        for layer in layers:
            convolution, norm = model.get_submodule(layer.convolution), model.get_submodule(layer.norm)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
            is_depthwise = convolution.groups > 1
            self._copy(convolution.weight, f"{layer.scope}/{'depthwise_weights' if is_depthwise else 'weights'}")
            own = {
                "gamma": norm.weight,
                "beta": norm.bias,
                "moving_mean": norm.running_mean,
                "moving_variance": norm.running_var,
            }
            for name, tensor in own.items():
                assert tensor is not None
                self._copy(tensor, f"{layer.scope}/BatchNorm/{name}")
            assert norm.running_var is not None
            if layer.convolution.startswith("encoder."):
                norm.running_var.add_(_EPS - norm.eps)  # under the root, they are added

    def check_used(self) -> None:
        """See that nothing of the checkpoint was left out that a model needs."""
        if self._unused:
            raise CheckpointError(
                f"checkpoint: {len(self._unused)} of its tensors have no place in the model, the first is {min(self._unused)}; "
                "cell= names another cell."
            )

    def _order_inputs(self, model: Segmenter, cell: CellSpec) -> None:
        """Of the projection, which in DeepLab's ASPP has pooling first."""
        scopes = names.aspp_scopes(cell)
        order = sorted(scopes, key=lambda scope: (scope != "image_pooling", scope))
        weight_OI11 = cast(nn.Conv2d, model.cell.project[1]).weight.data
        parts = dict(zip(order, weight_OI11.chunk(len(scopes), dim=1), strict=True))
        weight_OI11.copy_(torch.cat([parts[scope] for scope in scopes], dim=1))

    @torch.no_grad()
    def _copy(self, tensor: Tensor, name: str) -> None:
        """Of convolutions, HWIO becomes OIHW, and HWC1 of depthwise ones C1HW."""
        order = {4: (3, 2, 0, 1)}.get(tensor.ndim, tuple(range(tensor.ndim)))
        if name.endswith("depthwise_weights"):
            order = (2, 3, 0, 1)
        shape = self._shape(name)
        if len(shape) != tensor.ndim or tuple(shape[axis] for axis in order) != tensor.shape:
            raise CheckpointError(
                f"checkpoint: {name} is {shape}, which does not fit {tuple(tensor.shape)}; cell= names another cell."
            )
        tensor.copy_(torch.from_numpy(self._checkpoint.tensor(name).transpose(order).copy()))
        self._unused.discard(name)

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise CheckpointError(f"checkpoint: it has no {name}; cell= names another cell.")
        return self.shapes[name]
