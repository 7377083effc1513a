"""How features are cached."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.system.paths import PathText


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How features are cached.

    Attributes:
        folder: where caches lie; each has a folder of its own there.
        local: a folder on each node's own disk, where trials find copies of finished caches; None reads them where they lie.
        dtype: of the stored features.
        height_px: images are padded to this height; None for the highest image's, rounded up to the features' grid.
        width_px: likewise.
        views: of each training image: itself, its mirror image, and from the third on random scales and crops, mirrored in
            turn. The cache grows as many times.
        scales: factors that the third and further views are resized by, drawn from with equal chance.
        label_stride: every so many-th row and column of the training labels is kept; 1 for the loss at full resolution.
        workers: processes that extract; None for one per GPU, or one per CPU where there is none; on a cluster, for as many as
            it holds.
        batch_size: images per forward pass; it changes no value. None for 8 on a GPU and 1 on a CPU, whose caches it suits.
    """

    folder: PathText
    local: PathText | None = None
    dtype: Literal["float16", "float32"] = "float16"
    height_px: int | None = None
    width_px: int | None = None
    views: int = 1
    scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    label_stride: int = 1
    workers: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"cache.dtype must be 'float16' or 'float32', got {self.dtype!r}.")
        for name in ("height_px", "width_px", "views", "label_stride", "workers", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"cache.{name} must be at least 1, got {getattr(self, name)}.")
        if self.local is not None and Path(self.local).resolve() == Path(self.folder).resolve():
            raise ValueError(f"cache.local must be another folder than cache.folder, got {self.local!r} for both.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"cache.scales must be at least one factor above 0, got {list(self.scales)}.")
