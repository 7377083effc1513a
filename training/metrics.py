"""Mean intersection over union, counted exactly."""

import torch
from torch import Tensor


class ConfusionMatrix:
    """A streaming confusion matrix.

    Args:
        num_classes: classes that are scored, at most 255.
        ignore_label: label of pixels that do not count, ``num_classes`` to 255.
    """

    def __init__(self, num_classes: int, ignore_label: int) -> None:
        if not 2 <= num_classes <= 255:
            raise ValueError(f"ConfusionMatrix: num_classes must be from 2 to 255, got {num_classes}.")
        if not num_classes <= ignore_label <= 255:
            raise ValueError(f"ConfusionMatrix: ignore_label must be from {num_classes} to 255, got {ignore_label}.")
        self.num_classes = num_classes
        self.counts_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        """Pixels by (label, prediction)."""

    def update(self, predictions_BHW: Tensor, labels_BHW: Tensor) -> None:
        """Count one batch.

        Args:
            predictions_BHW: class ids, any integer type.
            labels_BHW: class ids or the ignore label, of the same shape. They are trusted to be in range: data sets
                check them when they are read.
        """
        num_keys = self.num_classes * self.num_classes
        # int16 holds 127 x 255 + 126 and is four times faster to count than int64; ignored labels land beyond the last key.
        dtype = torch.int16 if self.num_classes <= 127 else torch.int32
        keys = labels_BHW.to(dtype) * self.num_classes + predictions_BHW.to(dtype)
        counts = torch.bincount(keys.flatten(), minlength=num_keys)[:num_keys]
        self.counts_KK += counts.reshape(self.num_classes, self.num_classes).cpu()

    def iou_K(self) -> Tensor:
        """Intersection over union of each class, float64; NaN for a class in neither labels nor predictions."""
        intersection_K = self.counts_KK.diagonal()
        union_K = self.counts_KK.sum(0) + self.counts_KK.sum(1) - intersection_K
        return intersection_K.double() / union_K

    def shares_KK(self) -> Tensor:
        """Of the pixels of each label (rows), the share that was taken for each class; NaN for a class without a label."""
        return self.counts_KK.double() / self.counts_KK.sum(dim=1, keepdim=True)

    def miou(self) -> float:
        """Mean over the classes that occur in labels or predictions, 0 to 1; NaN when every pixel was ignored."""
        return float(self.iou_K().nanmean())

    def pixel_accuracy(self) -> float:
        """Share of counted pixels that are right; NaN when every pixel was ignored."""
        return float(self.counts_KK.diagonal().sum().double() / self.counts_KK.sum())
