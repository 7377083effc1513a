"""Which backbone, and how any cell is built.

Every setting of conf/ is checked before torch is loaded: a folder's ``settings.py`` imports only the standard library and other
settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Literal

from data.system.paths import NamesPath

HUB = "hub"
"""The ``weights`` that downloads the encoder's own pre-trained ones."""
LOCAL = "local"
"""The ``name`` of the tiny backbone for the embedded data set, which nobody has trained."""
KERNELS = "DPC_KERNELS"
"""Of the environment: 0 keeps a process from using its own kernels on a GPU."""
SEEDS = 2**63
"""Seeds are below it, and none is negative: torch takes others, NumPy does not."""
PAPER_OUTPUT_STRIDE = 16
"""The output stride at which rates are written; at stride 8 they are doubled to see the same context."""
WEIGHTS_FILE = "model.safetensors"
"""In the folder of a saved model."""


@dataclass(frozen=True)
class BackboneChoice:
    """Which backbone; what belongs to its weights is as they say themselves, and is given where they do not.

    Attributes:
        name, output_stride, weights, seed: as in ``BackboneSettings``.
        pad_type, mean, std: likewise; None takes what is known of the weights: timm's or segmentation-models-pytorch's own
            description of ``hub``, the metadata of a file. ``models.pretrained.settle`` looks them up.
    """

    name: str
    output_stride: int = 16
    weights: Annotated[str, NamesPath((HUB,))] | None = None
    pad_type: str | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_backbone(self)


@dataclass(frozen=True)
class BackboneSettings:
    """Which backbone, and what belongs to its weights.

    Attributes:
        name: ``tu-<timm model>`` (``tu-mobilenetv2_100`` ends in 320 channels as the paper's), an encoder of
            segmentation-models-pytorch, or ``local``, a tiny untrained one for the embedded data set.
        output_stride: image pixels between neighbouring features of the last map.
        weights: a safetensors file in timm's naming, ``hub`` to download the encoder's own, or None for the
            reproducible random initialisation of ``seed``.
        pad_type: timm's, ``same`` for weights trained with TensorFlow's padding; None for the model's own. On sizes of
            16k + 1 pixels both are the same at stride 16.
        mean: of each channel of images scaled to 0 to 1, which the weights were trained with.
        std: likewise.
        seed: of the random initialisation.
    """

    name: str
    output_stride: int = 16
    weights: Annotated[str, NamesPath((HUB,))] | None = None
    pad_type: str | None = None
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.5, 0.5, 0.5)
    seed: int = 0

    def __post_init__(self) -> None:
        _check_backbone(self)


def _check_backbone(settings: BackboneChoice | BackboneSettings) -> None:
    if not 0 <= settings.seed < SEEDS:
        raise ValueError(f"backbone.seed must be from 0 to 2^63 - 1, got {settings.seed}.")
    if settings.output_stride not in (4, 8, 16):
        raise ValueError(f"backbone.output_stride must be 4, 8 or 16, got {settings.output_stride}.")
    if settings.pad_type not in (None, "same"):
        raise ValueError(f"backbone.pad_type must be 'same' or null, got {settings.pad_type!r}.")
    for field, values in (("mean", settings.mean), ("std", settings.std)):
        if values is not None and (len(values) != 3 or not all(map(isfinite, values))):
            raise ValueError(f"backbone.{field} must be three numbers (red, green, blue), got {values}.")
    if settings.mean is not None and not all(0 <= channel <= 1 for channel in settings.mean):
        raise ValueError(f"backbone.mean must be from 0 to 1, of images scaled to 0 to 1, got {list(settings.mean)}.")
    if settings.std is not None and min(settings.std) <= 0:
        raise ValueError(f"backbone.std must be above 0, got {list(settings.std)}.")


@dataclass(frozen=True, slots=True)
class CellSettings:
    """How any cell is built, whatever its architecture.

    Attributes:
        filters: output channels of every branch and of the cell (256 in the paper).
        output_stride: pixels between neighbouring features; rates are multiplied by 16 / output_stride.
        bn_momentum: of batch norm's running statistics, in torch's sense. DeepLab's decay 0.9997 is 0.0003, which is too
            slow for runs of a few thousand iterations.
        dropout: share of the concatenated branches' values dropped before the projection (0.1 in the released code).
        initial: the weights that it begins with: ``torch``'s own, or as ``deeplab``'s code draws them (``models.initial``).
    """

    filters: int = 256
    output_stride: int = 16
    bn_momentum: float = 0.1
    dropout: float = 0.1
    initial: Literal["torch", "deeplab"] = "torch"

    def __post_init__(self) -> None:
        if self.filters < 1:
            raise ValueError(f"cell.filters must be at least 1, got {self.filters}.")
        if self.output_stride not in (4, 8, 16):
            raise ValueError(f"cell.output_stride must be 4, 8 or 16, got {self.output_stride}.")
        if not 0 < self.bn_momentum <= 1:
            raise ValueError(f"cell.bn_momentum must be above 0 and at most 1, got {self.bn_momentum}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"cell.dropout must be at least 0 and below 1, got {self.dropout}.")
        if self.initial not in ("torch", "deeplab"):
            raise ValueError(f"cell.initial must be 'torch' or 'deeplab', got {self.initial!r}.")

    @property
    def rate_multiplier(self) -> int:
        return PAPER_OUTPUT_STRIDE // self.output_stride
