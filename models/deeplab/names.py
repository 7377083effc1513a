"""What DeepLab's checkpoints call the layers of this project's models (research/deeplab in github.com/tensorflow/models)."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from models.spec import AtrousConv, CellSpec, PyramidPooling


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with its batch norm: where they are in a ``Segmenter``, and the scope that has both in a checkpoint."""

    convolution: str
    norm: str
    scope: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A backbone of DeepLab's.

    Attributes:
        backbone: timm's, as ``BackboneSettings`` names it.
        scope: that all its layers lie in.
        pad_type: ``same`` where strided convolutions have TensorFlow's padding.
        units: of Xception: the blocks of the entry flow, and the units of the middle one.
    """

    backbone: str
    scope: str
    pad_type: str | None
    units: tuple[int, int] = (0, 0)

    def layers(self) -> list[Layer]:
        """Of the whole backbone; a shortcut is there in some units only."""
        return list(_mobilenet() if self.scope == "MobilenetV2" else _xception(self.scope, *self.units))


VARIANTS = (
    Variant("tu-mobilenetv2_100", "MobilenetV2", "same"),
    Variant("tu-xception41", "xception_41", None, (3, 8)),
    Variant("tu-xception65", "xception_65", None, (3, 16)),
    Variant("tu-xception71", "xception_71", None, (5, 16)),
)
CLASSIFIER = "logits/semantic"
DECODER = "decoder/"
DPC = "meta_architecture/"
"""The scope of a Dense Prediction Cell; ASPP has none."""
LEFT_OUT = ("MobilenetV2/Conv_1/", "MobilenetV2/Logits/", *(f"{variant.scope}/logits/" for variant in VARIANTS))
"""Scopes of ImageNet's classifiers."""
SLOTS = ("/Momentum", "/ExponentialMovingAverage", "/RMSProp", "/RMSProp_1", "/Adam", "/Adam_1")
"""What optimisers add to the name of a variable."""


def cell_layers(cell: CellSpec, names: Collection[str]) -> Iterator[Layer]:
    """Of a cell's branches and their projection; ``names`` are the checkpoint's."""
    scope = DPC if any(name.startswith(DPC) for name in names) else ""
    own = [f"{DPC}branch{number}" for number in range(len(cell))] if scope else aspp_scopes(cell)
    for number, (branch, name) in enumerate(zip(cell.branches, own, strict=True)):
        place = f"cell.branches.{number}"
        match branch.operator:
            case AtrousConv():
                yield from _separable(place, name)
            case PyramidPooling():
                yield Layer(f"{place}.project.0", f"{place}.project.1", name)
            case _:
                yield Layer(f"{place}.0", f"{place}.1", name)
    yield Layer("cell.project.1", "cell.project.2", f"{scope}concat_projection")


def aspp_scopes(cell: CellSpec) -> list[str]:
    """Of the branches of ASPP: pooling has a name of its own, the others have numbers."""
    numbers = iter(range(len(cell)))
    return [
        "image_pooling" if isinstance(branch.operator, PyramidPooling) else f"aspp{next(numbers)}" for branch in cell.branches
    ]


def decoder_layers() -> Iterator[Layer]:
    """Of the decoder at stride 4."""
    yield Layer("decoder.reduce.0", "decoder.reduce.1", f"{DECODER}feature_projection0")
    for number in (0, 1):
        yield from _separable(f"decoder.refine.{number}", f"{DECODER}decoder_conv{number}")


def _separable(place: str, scope: str) -> Iterator[Layer]:
    yield Layer(f"{place}.0", f"{place}.1", f"{scope}_depthwise")
    yield Layer(f"{place}.3", f"{place}.4", f"{scope}_pointwise")


def _mobilenet() -> Iterator[Layer]:
    model = "encoder.model."
    yield Layer(f"{model}conv_stem", f"{model}bn1", "MobilenetV2/Conv")
    units = [(stage, unit) for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for unit in range(count)]
    for number, (stage, unit) in enumerate(units):
        place, scope = f"{model}blocks.{stage}.{unit}", f"MobilenetV2/expanded_conv{f'_{number}' if number else ''}"
        layers = [("conv_pw", "expand"), ("conv_dw", "depthwise"), ("conv_pwl", "project")]
        if number == 0:  # has no expansion
            layers = [("conv_dw", "depthwise"), ("conv_pw", "project")]
        for order, (convolution, name) in enumerate(layers, start=1):
            yield Layer(f"{place}.{convolution}", f"{place}.bn{order}", f"{scope}/{name}")


def _xception(scope: str, entry_blocks: int, middle_units: int) -> Iterator[Layer]:
    for number in (1, 2):
        stem = f"encoder.model.stem_{number - 1}"
        yield Layer(f"{stem}.conv", f"{stem}.bn", f"{scope}/entry_flow/conv1_{number}")
    units = [f"entry_flow/block{block}/unit_1" for block in range(1, entry_blocks + 1)]
    units += [f"middle_flow/block1/unit_{unit}" for unit in range(1, middle_units + 1)]
    units += ["exit_flow/block1/unit_1", "exit_flow/block2/unit_1"]
    for number, unit in enumerate(units):
        place, module = f"encoder.model.blocks_{number}", f"{scope}/{unit}/xception_module"
        for order in (1, 2, 3):
            separable = f"{place}.stack.conv{order}"
            yield Layer(f"{separable}.conv_dw", f"{separable}.bn_dw", f"{module}/separable_conv{order}_depthwise")
            yield Layer(f"{separable}.conv_pw", f"{separable}.bn_pw", f"{module}/separable_conv{order}_pointwise")
        if not unit.startswith("middle_flow") and number != len(units) - 1:
            yield Layer(f"{place}.shortcut.conv", f"{place}.shortcut.bn", f"{module}/shortcut")
