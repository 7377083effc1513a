"""The whole segmentation model: backbone, cell, classifier, and DeepLabv3+'s decoder where wanted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from data.system.files import write_text
from models.backbones import build_backbone
from models.dpc import DensePredictionCell
from models.operators import build_operator
from models.settings import PAPER_OUTPUT_STRIDE, WEIGHTS_FILE, BackboneSettings, CellSettings
from models.spec import AtrousConv, CellSpec, Conv1x1
from models.tensor_file import read_tensors, write_tensors

CONFIG_FILE = "config.json"


class ModelFileError(ValueError):
    """A saved model that is missing, damaged, or not one of this project's."""


class Segmenter(nn.Module):
    """Images to class scores, with smp's habits; ``save_pretrained`` writes weights and cell together.

    >>> model = Segmenter.from_pretrained("outputs/demo/retrain")
    >>> logits_BKHW = model.eval()(images_BCHW)

    Args:
        cell: the architecture in DeepLab's published JSON format.
        classes: channels of the logits.
        encoder_name: as in ``models.settings.BackboneSettings``, whose fields the next five and ``encoder_seed`` are.
        encoder_weights: where to start training from. A saved model does not need it again.
        filters: channels of every branch and of the cell.
        decoder: add DeepLabv3+'s decoder, which refines the cell's output with stride-4 features.
        class_names: one name a class, carried along for people.
        palette: likewise one (red, green, blue) a class, 0 to 255, for pictures.
    """

    def __init__(
        self,
        cell: list[dict[str, Any]],
        classes: int,
        encoder_name: str = "tu-mobilenetv2_100",
        encoder_weights: str | None = None,
        output_stride: int = 16,
        pad_type: str | None = None,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        filters: int = 256,
        bn_momentum: float = 0.1,
        dropout: float = 0.1,
        decoder: bool = False,
        class_names: list[str] | None = None,
        encoder_seed: int = 0,
        palette: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        for field, values in (("class_names", class_names), ("palette", palette)):
            if values is not None and len(values) != classes:
                raise ValueError(f"Segmenter: {field} must be one a class, got {len(values)} for {classes} classes.")
        self.config = {
            "cell": cell,
            "classes": classes,
            "encoder_name": encoder_name,
            "output_stride": output_stride,
            "pad_type": pad_type,
            "mean": list(mean),
            "std": list(std),
            "filters": filters,
            "bn_momentum": bn_momentum,
            "dropout": dropout,
            "decoder": decoder,
            "class_names": class_names,
            "encoder_seed": encoder_seed,
            "palette": None if palette is None else [list(colour) for colour in palette],
        }
        self.backbone_settings = BackboneSettings(
            encoder_name, output_stride, encoder_weights, pad_type, tuple(mean), tuple(std), encoder_seed
        )
        self.class_names = class_names or [str(index) for index in range(classes)]
        self.palette = None if palette is None else tuple((red, green, blue) for red, green, blue in palette)
        self.encoder = build_backbone(self.backbone_settings)
        channels = cast(list[int], self.encoder.out_channels)
        cell_settings = CellSettings(filters, output_stride, bn_momentum, dropout)
        self.cell = DensePredictionCell(CellSpec.from_json(cell), channels[-1], cell_settings)
        self.decoder = StrideFourDecoder(channels[2], cell_settings) if decoder else None
        self.classifier = nn.Conv2d(filters, classes, kernel_size=1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalised images of any size to logits (B, classes, H, W) of the same size."""
        height, width = images_BCHW.shape[-2:]
        return self.padded_logits(images_BCHW)[..., :height, :width]

    def padded_logits(self, images_BCHW: Tensor) -> Tensor:
        """Logits of the images padded at the right and bottom to a multiple of the output stride plus one.

        There, feature (i, j) lies on pixel (i, j) x output stride whatever the padding of the convolutions; zero is the mean
        colour.
        """
        height, width = images_BCHW.shape[-2:]
        padded = [padded_px(size, self.backbone_settings.output_stride) for size in (height, width)]
        logits_BKhw = self.coarse_logits(F.pad(images_BCHW, (0, padded[1] - width, 0, padded[0] - height)))
        return F.interpolate(logits_BKhw, size=padded, mode="bilinear", align_corners=True)

    def coarse_logits(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, classes, h, w) before their last resize, of images whose sides are padded already."""
        maps = self.encoder(images_BCHW)
        features = self.cell(maps[-1])
        if self.decoder is not None:
            features = self.decoder(features, maps[2])
        logits_BKhw: Tensor = self.classifier(features)
        return logits_BKhw

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``model.safetensors``, which holds weights and configuration, and ``config.json`` for people to read.

        One file holds both, so that weights cannot be parted from their cell, and it is replaced in one step, so that a
        kill leaves the old model or the new one.
        """
        config = json.dumps(self.config, indent=2)
        write_text(Path(directory) / CONFIG_FILE, config + "\n")
        write_tensors(Path(directory) / WEIGHTS_FILE, self.state_dict(), {"config": config})

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> Self:
        """The model that ``save_pretrained`` wrote to ``directory``. Nothing in the file is executed.

        Raises:
            ModelFileError: there is none, or it is damaged; the message names the file.
        """
        path = Path(directory) / WEIGHTS_FILE
        if not path.is_file():
            raise ModelFileError(f"checkpoint: no model in {directory}; expected a folder with {WEIGHTS_FILE}.")
        try:
            tensors, metadata = read_tensors(path)
            model = cls(**json.loads(metadata["config"]))
            model.load_state_dict(tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = shorten(str(error), width=200)  # torch lists every tensor that does not fit, one a line
            raise ModelFileError(f"checkpoint: {path} is not a model of dpc-search, or is damaged ({reason}).") from error
        return model


class CoarseLogits(nn.Module):
    """A segmenter as it is called in a training step: the loss does the last resize of the logits by itself."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.segmenter.coarse_logits(images_BCHW)


class StrideFourDecoder(nn.Module):
    """DeepLabv3+'s decoder (Chen et al. 2018, 1802.02611, section 3.1): 48 channels of stride 4 join the cell's output."""

    def __init__(self, low_level_channels: int, settings: CellSettings, reduced_channels: int = 48) -> None:
        super().__init__()
        undilated = replace(settings, output_stride=PAPER_OUTPUT_STRIDE)
        self.reduce = build_operator(Conv1x1(), low_level_channels, replace(undilated, filters=reduced_channels))
        self.refine = nn.Sequential(
            build_operator(AtrousConv(), settings.filters + reduced_channels, undilated),
            build_operator(AtrousConv(), settings.filters, undilated),
        )

    def forward(self, features_BCHW: Tensor, low_level_BCHW: Tensor) -> Tensor:
        low_level_BCHW = self.reduce(low_level_BCHW)
        raised = F.interpolate(features_BCHW, size=low_level_BCHW.shape[-2:], mode="bilinear", align_corners=True)
        return self.refine(torch.cat([raised, low_level_BCHW], dim=1))


def padded_px(size_px: int, output_stride: int) -> int:
    """The smallest multiple of ``output_stride`` plus one that is at least ``size_px``."""
    return (size_px + output_stride - 2) // output_stride * output_stride + 1
