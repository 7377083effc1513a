"""Which pixels a full training learns from, and how much of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class LossSettings:
    """As it is, every labelled pixel counts alike.

    Attributes:
        class_weights: of each class, in order; or by a rule from the labels of the training split: ``median_frequency``, the
            median of the classes' shares over the class' own, each of the labelled pixels in the images that show the class
            (Eigen and Fergus 2015), or ``inverse_log``, 1 / ln(1.02 + share of all labelled pixels) (Paszke et al. 2016). None
            weighs all alike.
        hard_pixels: share of a batch's labelled pixels that count, those of the largest loss (DeepLab's top-k pixels;
            Shrivastava et al. 2016).
        label_smoothing: of the target, spread over all classes (Szegedy et al. 2016).
    """

    class_weights: Sequence[float] | Literal["median_frequency", "inverse_log"] | None = None
    hard_pixels: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        weights = self.class_weights
        if isinstance(weights, str):
            if weights not in ("median_frequency", "inverse_log"):
                raise ValueError(
                    f"loss.class_weights must be a list of weights, 'median_frequency', 'inverse_log' or null, got {weights!r}."
                )
        elif weights is not None and (not weights or not 0 <= min(weights) <= max(weights) < float("inf") or max(weights) == 0):
            raise ValueError(f"loss.class_weights must be at least 0, and not all 0, got {list(weights)}.")
        if not 0 < self.hard_pixels <= 1:
            raise ValueError(f"loss.hard_pixels must be above 0 and at most 1, got {self.hard_pixels}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"loss.label_smoothing must be from 0 to below 1, got {self.label_smoothing}.")
