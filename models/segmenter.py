"""The whole segmentation model: backbone, cell, classifier, and DeepLabv3+'s decoder where wanted."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from data.system.errors import UserError
from models.backbones import build_backbone, channels_of
from models.dpc import DensePredictionCell
from models.grid import padded_px, resized
from models.grid_products import aligned_by_products
from models.initial import initialise
from models.operators import build_operator
from models.settings import PAPER_OUTPUT_STRIDE, WEIGHTS_FILE, BackboneSettings, CellSettings
from models.spec import PUBLISHED_OPERATORS, AtrousConv, CellError, CellSpec, Conv1x1, Operator
from models.tensor_file import read_tensors, write_tensors


class ModelFileError(UserError):
    """A saved model that is missing, damaged, or not one of this project's."""


class Segmenter(nn.Module):
    """Images to class scores, with smp's habits; ``save_pretrained`` writes weights and cell together.

    >>> model = Segmenter.from_pretrained("outputs/demo/retrain")
    >>> logits_BKHW = model.eval()(images_BCHW)

    Args:
        num_classes: channels of the logits.
        backbone: its ``weights`` are where training starts from; a saved model does not need them again.
        decoder: add DeepLabv3+'s decoder, which refines the cell's output with stride-4 features.
        class_names: one name per class, carried along for people.
        palette: likewise one (red, green, blue) a class, 0 to 255, for pictures.
    """

    def __init__(
        self,
        cell: CellSpec,
        num_classes: int,
        backbone: BackboneSettings,
        cell_settings: CellSettings,
        decoder: bool = False,
        class_names: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        for field, values in (("class_names", class_names), ("palette", palette)):
            if values is not None and len(values) != num_classes:
                raise ValueError(f"Segmenter: {field} must be one per class, got {len(values)} for {num_classes} classes.")
        if cell_settings.output_stride != backbone.output_stride:
            raise UserError(
                f"cell.output_stride must be the backbone's, {backbone.output_stride}, got {cell_settings.output_stride}."
            )
        self.backbone_settings = replace(backbone, weights=None, mean=tuple(backbone.mean), std=tuple(backbone.std))
        self.cell_settings = cell_settings
        self.class_names = [str(index) for index in range(num_classes)] if class_names is None else list(class_names)
        self.palette = None if palette is None else tuple((red, green, blue) for red, green, blue in palette)
        self.encoder = build_backbone(backbone)
        channels = channels_of(self.encoder)
        self.cell = DensePredictionCell(cell, channels[-1], cell_settings)
        self.decoder = StrideFourDecoder(channels[2], cell_settings) if decoder else None
        self.classifier = nn.Conv2d(cell_settings.filters, num_classes, kernel_size=1)
        initialise(nn.ModuleList([self.cell, *([self.decoder] if self.decoder else [])]), self.classifier, cell_settings)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalised images of any size to logits (B, classes, H, W) of the same size."""
        height, width = images_BCHW.shape[-2:]
        return self.padded_logits(images_BCHW)[..., :height, :width]

    def padded_logits(self, images_BCHW: Tensor) -> Tensor:
        """Logits of the images padded at the right and bottom to 16k + 1 pixels a side; 0 is the mean colour."""
        height, width = images_BCHW.shape[-2:]
        padded = [padded_px(size, self.backbone_settings.output_stride) for size in (height, width)]
        logits_BKhw = self.coarse_logits(F.pad(images_BCHW, (0, padded[1] - width, 0, padded[0] - height)))
        return resized(logits_BKhw, padded)

    def coarse_logits(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, classes, h, w) before their last resize, of images whose sides are padded already."""
        return self.logits_of(self.encoder(images_BCHW))

    def logits_of(self, maps: Sequence[Tensor]) -> Tensor:
        """The same, of the encoder's maps."""
        features = self.cell(maps[-1])
        if self.decoder is not None:
            features = self.decoder(features, maps[2])
        logits_BKhw: Tensor = self.classifier(features)
        return logits_BKhw

    @property
    def config(self) -> dict[str, Any]:
        """All that ``from_config`` needs, in plain values."""
        backbone = self.backbone_settings
        return {
            "cell": self.cell.spec.to_json(),
            "num_classes": self.classifier.out_channels,
            "backbone": {**asdict(backbone), "mean": list(backbone.mean), "std": list(backbone.std)},
            "cell_settings": asdict(self.cell_settings),
            "decoder": self.decoder is not None,
            "class_names": self.class_names,
            "palette": None if self.palette is None else [list(colour) for colour in self.palette],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], operators: Iterable[type[Operator]] = PUBLISHED_OPERATORS) -> Self:
        """An untrained model like the one whose ``config`` this is.

        Args:
            operators: the kinds that its cell may hold: ``space.operator_kinds`` where it has some of your own.
        """
        given = _nested(config)
        if given["backbone"].get("weights") is not None:
            raise ValueError(
                f"Segmenter: a configuration opens no file, got backbone.weights={given['backbone']['weights']!r}."
            )
        values = {
            "cell": CellSpec.from_json(given["cell"], operators),
            "backbone": BackboneSettings(**given["backbone"]),
            "cell_settings": CellSettings(**given["cell_settings"]),
        }
        return cls(**{**given, **values})

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``model.safetensors``, which holds weights, configuration, and a digest of both.

        One file holds them, so that weights cannot be parted from their cell, and it is replaced in one step, so that a
        kill leaves the old model or the new one.
        """
        write_tensors(Path(directory) / WEIGHTS_FILE, self.state_dict(), {"config": json.dumps(self.config)})

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        output_stride: int | None = None,
        operators: Iterable[type[Operator]] = PUBLISHED_OPERATORS,
    ) -> Self:
        """The model that ``save_pretrained`` wrote to ``directory``. Nothing in the file is executed, or opens another one.

        Args:
            output_stride: another than it was trained with, 8 for 16: features twice as fine, of the same weights; the rates of
                backbone and cell follow, so that each weight sees what it was trained on (the paper's test results).
            operators: as ``from_config`` takes them.

        Raises:
            ModelFileError: there is none, it is damaged, or its cell has other operators; the message names the file.
            BackboneError: the backbone has no such output stride.
        """
        path = Path(directory) / WEIGHTS_FILE
        if not path.is_file():
            raise ModelFileError(f"checkpoint: no model in {directory}; expected a folder with {WEIGHTS_FILE}.")
        try:
            tensors, metadata = read_tensors(path)
            if metadata.keys() != {"config"}:
                raise ValueError(f"its metadata is {', '.join(sorted(metadata))}, and not config")
            config = _nested(json.loads(metadata["config"]))
            _check_sizes(config, tensors)
            model = cls.from_config(config, operators)
            model.load_state_dict(tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = shorten(str(error), width=200)  # torch lists every tensor that does not fit, one per line
            if isinstance(error, CellError):
                reason += "; operators of your own: space.operators, in Python operators="
            raise ModelFileError(f"checkpoint: {path} is not a model of dpc-search, or is damaged ({reason}).") from error
        return model if output_stride is None else model.at_stride(output_stride)

    def at_stride(self, output_stride: int) -> Self:
        """The same weights at another output stride, as ``from_pretrained`` has it.

        Raises:
            BackboneError: the backbone has no such output stride.
        """
        model = type(self)(
            self.cell.spec,
            self.classifier.out_channels,
            replace(self.backbone_settings, output_stride=output_stride),
            replace(self.cell_settings, output_stride=output_stride),
            self.decoder is not None,
            self.class_names,
            self.palette,
        )
        model.load_state_dict(self.state_dict())
        return model


def _check_sizes(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a configuration that would need more memory than its weights before any of it is built."""
    filters = config["cell_settings"]["filters"]
    wanted, stored = (config["num_classes"], filters, 1, 1), tuple(tensors["classifier.weight"].shape)
    if stored != wanted:
        raise ValueError(f"classifier.weight is {stored}, and by the configuration {wanted}")
    projection, held = len(config["cell"]) * filters**2, sum(tensor.numel() for tensor in tensors.values())
    if projection > held:
        raise ValueError(f"the cell has {projection:,} weights by the configuration, and the file {held:,} in all")


class CoarseLogits(nn.Module):
    """A segmenter as it is called in a training step: the loss does the last resize of the logits by itself.

    Args:
        auxiliary: gives logits of its own of the encoder's last map but one; then both come, the segmenter's first.
    """

    def __init__(self, segmenter: Segmenter, auxiliary: nn.Module | None = None) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.auxiliary = auxiliary

    def forward(self, images_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.auxiliary is None:
            return self.segmenter.coarse_logits(images_BCHW)
        maps = self.segmenter.encoder(images_BCHW)
        return self.segmenter.logits_of(maps), self.auxiliary(maps[-2])


REDUCED = 48
"""Channels of stride 4 that the decoder joins to the cell's output."""


class StrideFourDecoder(nn.Module):
    """DeepLabv3+'s decoder (Chen et al. 2018, 1802.02611, section 3.1)."""

    def __init__(self, low_level_channels: int, settings: CellSettings) -> None:
        super().__init__()
        undilated = replace(settings, output_stride=PAPER_OUTPUT_STRIDE)
        self.reduce = build_operator(Conv1x1(), low_level_channels, replace(undilated, filters=REDUCED))
        self.refine = nn.Sequential(
            build_operator(AtrousConv(), settings.filters + REDUCED, undilated),
            build_operator(AtrousConv(), settings.filters, undilated),
        )

    def forward(self, features_BCHW: Tensor, low_level_BCHW: Tensor) -> Tensor:
        low_level_BCHW = self.reduce(low_level_BCHW)
        size = low_level_BCHW.shape[2], low_level_BCHW.shape[3]
        raise_to = aligned_by_products if self.training and features_BCHW.is_cuda else resized
        raised_BCHW = raise_to(features_BCHW, size)
        return self.refine(torch.cat([raised_BCHW, low_level_BCHW], dim=1))


def _nested(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """``config``, whose settings lay side by side when models were saved without groups."""
    if "encoder_name" not in config:
        return config
    flat = config
    renamed = {"name": "encoder_name", "seed": "encoder_seed"}
    old_names = {field.name: renamed.get(field.name, field.name) for field in fields(BackboneSettings)}
    backbone = {name: flat[old] for name, old in old_names.items() if old in flat}
    cell_settings = {field.name: flat[field.name] for field in fields(CellSettings) if field.name in flat}
    moved = {"classes", *old_names.values(), *cell_settings}
    others = {name: value for name, value in flat.items() if name not in moved}
    return {"num_classes": flat["classes"], "backbone": backbone, "cell_settings": cell_settings, **others}
