"""From an image to its labels: scales and flips that are averaged, and tiles where an image is too large for one pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from data.datasets.contract import UInt8Array
from data.system.errors import UserError
from data.transforms import normalize
from models.grid import resized
from models.segmenter import Segmenter
from training.settings import Inference


@torch.inference_mode()
def predict_labels(model: Segmenter, image_HWC: UInt8Array, inference: Inference) -> Tensor:
    """Class ids (H, W), uint8 on the model's device, of an RGB image of any size.

    Args:
        model: in eval mode.

    Raises:
        UserError: the model has another output stride than is asked for.
    """
    settings = model.backbone_settings
    if inference.output_stride not in (None, settings.output_stride):
        raise UserError(
            f"inference.output_stride: the model's is {settings.output_stride}, got {inference.output_stride}; "
            f"model.at_stride({inference.output_stride}).eval() has it."
        )
    device = next(model.parameters()).device
    height_px, width_px = image_HWC.shape[:2]
    labels_HW = torch.empty(height_px, width_px, dtype=torch.uint8, device=device)
    for rows in tiles(height_px, inference.tile_px, inference.overlap_px, settings.output_stride):
        for columns in tiles(width_px, inference.tile_px, inference.overlap_px, settings.output_stride):
            tile_HWC = image_HWC[rows.seen, columns.seen]
            tile_BCHW = torch.from_numpy(normalize(tile_HWC, settings.mean, settings.std))[None].to(device)
            scores_BKHW = _class_scores(model, tile_BCHW, inference)
            kept_BKHW = scores_BKHW[..., rows.kept_of_seen, columns.kept_of_seen]
            labels_HW[rows.kept, columns.kept] = kept_BKHW[0].max(dim=0).indices.to(torch.uint8)
    return labels_HW


@dataclass(frozen=True, slots=True)
class Tile:
    """A stretch of an image's rows or columns: what the model sees, and the part whose labels are kept."""

    seen: slice
    kept: slice

    @property
    def kept_of_seen(self) -> slice:
        return slice(self.kept.start - self.seen.start, self.kept.stop - self.seen.start)


def tiles(length_px: int, tile_px: int, overlap_px: int, output_stride: int) -> Iterator[Tile]:
    """Tiles that cover each pixel and keep it once.

    They start on the features' grid: a cell that sees no further than half the overlap labels tiles as it would the whole.
    """
    step_px = (tile_px - overlap_px) // output_stride * output_stride
    last_px = max(0, -(-(length_px - tile_px) // output_stride) * output_stride)
    starts = [*range(0, last_px, step_px), last_px]
    stops = [min(start + tile_px, length_px) for start in starts]
    cuts = [0, *((start + stop) // 2 for start, stop in zip(starts[1:], stops, strict=False)), length_px]
    for seen, kept in zip(zip(starts, stops, strict=True), pairwise(cuts), strict=True):
        yield Tile(slice(*seen), slice(*kept))


def _class_scores(model: Segmenter, image_BCHW: Tensor, inference: Inference) -> Tensor:
    """What the largest of is the class, (B, K, H, W): averaged probabilities, or the logits where there is one view."""
    if tuple(inference.scales) == (1.0,) and not inference.flip:
        return model(image_BCHW)
    total_BKHW = torch.zeros((), device=image_BCHW.device)
    for scale in inference.scales:
        scaled_BCHW = resized(image_BCHW, [scaled_px(size, scale) for size in image_BCHW.shape[-2:]])
        total_BKHW = total_BKHW + _probabilities(model(scaled_BCHW), image_BCHW)
        if inference.flip:
            total_BKHW += _probabilities(model(scaled_BCHW.flip(-1)).flip(-1), image_BCHW)
    return total_BKHW


def scaled_px(size_px: int, scale: float) -> int:
    """DeepLab's: the first and last pixel stay the first and last."""
    return int((size_px - 1) * scale + 1)


def _probabilities(logits_BKHW: Tensor, image_BCHW: Tensor) -> Tensor:
    return resized(logits_BKHW, image_BCHW.shape[-2:]).softmax(dim=1)
