"""Cached backbone features: extracted once, memory-mapped by every trial of a machine.

``files.py`` says how it lies on a disk, ``build.py`` fills it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.cache.files import CURE, FORMAT, CacheError, files_of, has_size, is_undamaged, read_manifest, wrong_files
from data.datasets.contract import DatasetInfo, UInt8Array
from data.system.json_file import read_json

Window = tuple[int, int, int]
"""Top, left and side of a square, in feature pixels."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Everything that changes the cached values. Caches of different keys lie in different folders.

    Attributes:
        dataset: name of the data set, split, and digest of its content.
        backbone: name, digest of its weights, output stride, padding, normalisation.
        height_px: of every image after padding at the bottom.
        width_px: of every image after padding at the right.
        dtype: of the stored features.
        label_stride: every so many-th row and column of labels is stored, from the first.
        views: how the images were augmented; empty for the images as they are.
        code: what made the features: a digest of the source, and versions of packages.
    """

    dataset: Mapping[str, str]
    backbone: Mapping[str, Any]
    height_px: int
    width_px: int
    dtype: str = "float16"
    label_stride: int = 1
    views: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""

    @property
    def digest(self) -> str:
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """Name of the cache's folder: readable first, unique through the digest."""
        return f"{self.dataset['name']}-{self.dataset['split']}-{self.backbone['name']}-{self.digest}"


class FeatureCache:
    """A finished cache, opened in milliseconds: shards are mapped, not read.

    Args:
        key: what it must hold; None takes what is there.

    Attributes:
        info: of the data set's classes.
        channels, height, width: of the feature maps.

    Raises:
        CacheError: it is missing, unfinished, of another key, or a file has another size than the manifest says.
    """

    def __init__(self, folder: str | Path, key: CacheKey | None = None) -> None:
        self.folder = Path(folder)
        self._manifest = read_manifest(self.folder)
        if key is not None and self.content != json.loads(json.dumps(asdict(key))):
            raise CacheError(f"{self.folder}: holds {_named(self.content)}, not {_named(asdict(key))}; delete the folder.")
        info = self._manifest["info"]
        self.info = DatasetInfo(
            info["name"], tuple(info["class_names"]), tuple(map(tuple, info["palette"])), info["ignore_label"]
        )
        self.channels, self.height, self.width = (self._manifest[axis] for axis in ("channels", "height", "width"))
        self._mapped: dict[int, tuple[Any, Any]] = {}
        for entry in files_of(self._manifest):
            if not has_size(self.folder, entry):
                raise CacheError(f"{self.folder / entry['file']}: missing or of another size; {CURE}.")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def content(self) -> dict[str, Any]:
        """The key: what was cached, wherever it lies."""
        return dict(self._manifest["key"])

    @property
    def bytes(self) -> int:
        """On disk, features and labels."""
        return sum(shard[part]["bytes"] for shard in self._manifest["shards"] for part in ("features", "labels"))

    @property
    def label_pixels(self) -> list[int]:
        """How many cached labels have each value from 0 to 255, without those of padding and of further views."""
        pixels: npt.NDArray[np.int64] = np.sum(self._seen["label_pixels"], axis=0)
        return pixels.tolist()

    @property
    def image_digests(self) -> list[str]:
        """Of each image's pixels; its further views have none."""
        return list(chain(*self._seen["images"]))

    def labelled(self, indices: Iterable[int]) -> set[int]:
        """The values that labels of some samples, which are no further views, have."""
        shown = list(chain(*self._seen["labelled"]))
        return {int(value) for index in indices for value in shown[index].split()}

    def verify(self, *, reread: bool = True) -> None:
        """Compare checksums.

        Args:
            reread: every byte; else only what was written to since it was last read.

        Raises:
            CacheError: names the damaged file.
        """
        for entry in wrong_files(self.folder, self._manifest, reread=reread):
            raise CacheError(f"{self.folder / entry['file']}: damaged; {CURE}.")

    def batch(
        self, indices: Sequence[int], windows: Sequence[Window] | None = None
    ) -> tuple[npt.NDArray[np.float16], UInt8Array]:
        """Features (B, C, h, w) and labels (B, H, W) of some samples, copied out of the mapping.

        Args:
            windows: what to cut out of each, all of one side; None takes all of it.
        """
        samples = [self[index] for index in indices]
        if windows is not None:
            samples = [self._cut(*sample, *window) for sample, window in zip(samples, windows, strict=True)]
        return np.stack([features for features, _ in samples]), np.stack([labels for _, labels in samples])

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float16], UInt8Array]:
        """Features (C, h, w) and labels (H, W) of one sample, mapped."""
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        features, labels = self._shard(shard)
        return features[index - self._starts[shard]], labels[index - self._starts[shard]]

    def label_window(self, top: int, left: int, side: int) -> tuple[slice, slice]:
        """Rows and columns of the labels over a window of the features."""
        step = self.label_step
        return slice(step * top, step * (top + side - 1) + 1), slice(step * left, step * (left + side - 1) + 1)

    def _cut(
        self, features_CHW: npt.NDArray[np.float16], labels_HW: UInt8Array, top: int, left: int, side: int
    ) -> tuple[npt.NDArray[np.float16], UInt8Array]:
        return features_CHW[:, top : top + side, left : left + side], labels_HW[self.label_window(top, left, side)]

    @cached_property
    def label_step(self) -> int:
        """Labels between neighbouring features: feature (i, j) lies on label (n i, n j)."""
        labels_HW = self[0][1]
        return int((labels_HW.shape[0] - 1) // max(1, self.height - 1))

    @cached_property
    def _seen(self) -> dict[str, Any]:
        entry = self._manifest["seen"]
        if not is_undamaged(self.folder, entry):
            raise CacheError(f"{self.folder / entry['file']}: damaged; {CURE}.")
        return dict(read_json(self.folder / entry["file"]))

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """Index of each shard's first sample, and of the one after the last."""
        return np.cumsum([0, *(entry["features"]["shape"][0] for entry in self._manifest["shards"])])

    def _shard(self, shard: int) -> tuple[Any, Any]:
        if shard not in self._mapped:
            entry = self._manifest["shards"][shard]
            features, labels = (np.load(self.folder / entry[part]["file"], mmap_mode="r") for part in ("features", "labels"))
            self._mapped[shard] = features, labels
        return self._mapped[shard]


def _named(key: Mapping[str, Any]) -> str:
    dataset, backbone = key["dataset"], key["backbone"]
    return f"{backbone['name']} (weights {backbone.get('weights', 'unknown')}) on {dataset['split']} of {dataset['name']}"
