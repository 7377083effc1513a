"""The segmentation loss, at the labels' own resolution."""

import torch.nn.functional as F
from torch import Tensor


def upsample_logits(logits_BKhw: Tensor, height_px: int, width_px: int) -> Tensor:
    """Logits resized bilinearly to the image's grid.

    Corners are aligned: images have 16k + 1 pixels a side, so that feature (i, j) lies on pixel (16i, 16j).
    """
    return F.interpolate(logits_BKhw, size=(height_px, width_px), mode="bilinear", align_corners=True)


def segmentation_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
    """Mean cross entropy over the pixels that count; 0 where none does.

    Args:
        logits_BKhw: class scores at the features' resolution.
        labels_BHW: class ids at the image's resolution, uint8; pixels equal to ``ignore_label`` do not count.
    """
    logits_BKHW = upsample_logits(logits_BKhw, *labels_BHW.shape[-2:])
    total = F.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=ignore_label, reduction="sum")
    return total / (labels_BHW != ignore_label).sum().clamp(min=1)
