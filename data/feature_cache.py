"""Cached backbone features: extracted once, memory-mapped by every trial.

A cache is a folder of NumPy shards, each with a JSON beside it that holds its checksum, and a manifest that is written
last. A build that was killed goes on with the shards it lacks.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.datasets import DatasetInfo, Sample, Split

MANIFEST = "manifest.json"
FORMAT = 1

Extract = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating[Any]]]
"""Padded RGB images (B, H, W, 3) uint8 to features (B, C, h, w)."""


class CacheError(ValueError):
    """A feature cache that is missing, unfinished or damaged: the message names the file and the cure."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Everything that changes the cached values. Caches of different keys lie in different folders.

    Attributes:
        dataset: name of the data set, split, and digest of its content.
        backbone: name, digest of its weights, output stride, padding, normalisation.
        height_px: of every image after padding at the bottom.
        width_px: of every image after padding at the right.
        dtype: of the stored features.
    """

    dataset: Mapping[str, str]
    backbone: Mapping[str, Any]
    height_px: int
    width_px: int
    dtype: str = "float16"

    @property
    def digest(self) -> str:
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """Name of the cache's folder: readable first, unique through the digest."""
        return f"{self.dataset['name']}-{self.dataset['split']}-{self.backbone['name']}-{self.digest}"


def build_cache(
    root: Path,
    key: CacheKey,
    split: Split,
    info: DatasetInfo,
    extract: Extract,
    batch_size: int = 8,
    shard_size: int = 128,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Fill the cache of ``key`` under ``root``, going on where an earlier build stopped. Returns its folder.

    Args:
        extract: features of padded images; it pads nothing and normalises itself.
        shard_size: images a file.
        progress: told the images done and in all.

    Raises:
        DatasetError: a sample cannot be read, or is larger than the padded size.
        OSError: the disk is full or not writable.
    """
    folder = root / key.folder
    if (folder / MANIFEST).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for index, start in enumerate(range(0, len(split), shard_size)):
        stop = min(start + shard_size, len(split))
        entry = _finished_shard(folder, index, range(start, stop))
        if entry is None:
            entry = _write_shard(folder, index, range(start, stop), key, split, info, extract, batch_size, progress)
        shards.append(entry)
        progress(stop, len(split))
    _, channels, height, width = shards[0]["features"]["shape"]
    manifest = {
        "format": FORMAT,
        "key": asdict(key),
        "info": asdict(info),
        "channels": channels,
        "height": height,
        "width": width,
        "shards": shards,
    }
    _write_json(folder / MANIFEST, manifest)
    return folder


class FeatureCache:
    """A finished cache, opened in milliseconds: shards are mapped, not read.

    Attributes:
        info: of the data set's classes.
        channels, height, width: of the feature maps.

    Raises:
        CacheError: it is missing, unfinished, or a file has another size than the manifest says.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self._manifest = json.loads((self.folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise CacheError(f"{self.folder}: no finished feature cache here; `dpc cache` builds it.") from None
        except ValueError as error:
            raise CacheError(f"{self.folder / MANIFEST}: damaged ({error}); delete the folder to rebuild it.") from error
        info = self._manifest["info"]
        self.info = DatasetInfo(
            info["name"], tuple(info["class_names"]), tuple(map(tuple, info["palette"])), info["ignore_label"]
        )
        self.channels, self.height, self.width = (self._manifest[axis] for axis in ("channels", "height", "width"))
        for entry in self._files():
            path = self.folder / entry["file"]
            if not path.exists() or path.stat().st_size != entry["bytes"]:
                raise CacheError(f"{path}: missing or of another size; delete the folder to rebuild the cache.")

    def __len__(self) -> int:
        return len(self._locations)

    @property
    def content(self) -> dict[str, Any]:
        """The key: what was cached, wherever it lies."""
        return dict(self._manifest["key"])

    @property
    def bytes(self) -> int:
        """On disk, features and labels."""
        return sum(entry["bytes"] for entry in self._files())

    def verify(self) -> None:
        """Read every byte and compare checksums.

        Raises:
            CacheError: names the damaged file.
        """
        for entry in self._files():
            if _sha256(self.folder / entry["file"]) != entry["sha256"]:
                raise CacheError(f"{self.folder / entry['file']}: damaged; delete the folder to rebuild the cache.")

    def batch(self, indices: Sequence[int]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
        """Features (B, C, h, w) and labels (B, H, W) of some samples, copied out of the mapping."""
        pairs = [self[index] for index in indices]
        return np.stack([features for features, _ in pairs]), np.stack([labels for _, labels in pairs])

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
        """Features (C, h, w) and labels (H, W) of one sample, mapped."""
        shard, row = self._locations[index]
        features, labels = self._shards[shard]
        return features[row], labels[row]

    @cached_property
    def _locations(self) -> list[tuple[int, int]]:
        return [
            (shard, row) for shard, entry in enumerate(self._manifest["shards"]) for row in range(entry["features"]["shape"][0])
        ]

    @cached_property
    def _shards(self) -> list[tuple[Any, Any]]:
        return [
            tuple(np.load(self.folder / entry[part]["file"], mmap_mode="r") for part in ("features", "labels"))
            for entry in self._manifest["shards"]
        ]  # type: ignore[misc]

    def _files(self) -> Iterator[dict[str, Any]]:
        for entry in self._manifest["shards"]:
            yield from (entry["features"], entry["labels"])


def pad_sample(sample: Sample, height_px: int, width_px: int, mean: Sequence[float], ignore_label: int) -> Sample:
    """``sample`` padded at the bottom and right: the backbone's ``mean`` colour in the image, ``ignore_label`` in the labels.

    Raises:
        ValueError: it is larger than that.
    """
    height, width = sample.labels_HW.shape
    if height > height_px or width > width_px:
        raise ValueError(f"{sample.name}: {width}x{height} pixels do not fit the padded size {width_px}x{height_px}.")
    below, right = (0, height_px - height), (0, width_px - width)
    image_HWC = np.empty((height_px, width_px, 3), np.uint8)
    image_HWC[:] = np.rint(255 * np.asarray(mean))
    image_HWC[:height, :width] = sample.image_HWC
    return Sample(sample.name, image_HWC, np.pad(sample.labels_HW, (below, right), constant_values=ignore_label))


def _finished_shard(folder: Path, index: int, samples: range) -> dict[str, Any] | None:
    """The entry of a shard that an earlier build finished, its bytes checked, or None."""
    try:
        entry: dict[str, Any] = json.loads((folder / f"shard-{index:05d}.json").read_text())
        whole = all(_sha256(folder / entry[part]["file"]) == entry[part]["sha256"] for part in ("features", "labels"))
    except (OSError, ValueError, KeyError):
        return None
    return entry if whole and entry.get("samples") == [samples.start, samples.stop] else None


def _write_shard(
    folder: Path,
    index: int,
    samples: range,
    key: CacheKey,
    split: Split,
    info: DatasetInfo,
    extract: Extract,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    features, labels = [], []
    for start in range(samples.start, samples.stop, batch_size):
        batch = [
            pad_sample(split[i], key.height_px, key.width_px, key.backbone["mean"], info.ignore_label)
            for i in range(start, min(start + batch_size, samples.stop))
        ]
        features.append(extract(np.stack([sample.image_HWC for sample in batch])).astype(key.dtype))
        labels.append(np.stack([sample.labels_HW for sample in batch]))
        progress(start + len(batch), len(split))
    entry = {
        "samples": [samples.start, samples.stop],
        "features": _write_array(folder / f"features-{index:05d}.npy", np.concatenate(features)),
        "labels": _write_array(folder / f"labels-{index:05d}.npy", np.concatenate(labels)),
    }
    _write_json(folder / f"shard-{index:05d}.json", entry)
    return entry


def _write_array(path: Path, array: npt.NDArray[Any]) -> dict[str, Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CacheError(f"{path}: the backbone's features are not finite in {array.dtype}; try cache.dtype=float32.")
    array = np.ascontiguousarray(array)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            file.write(array.data)  # np.save would hide a full disk behind "N requested and M written"
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    partial.replace(path)
    return {"file": path.name, "shape": array.shape, "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _write_json(path: Path, value: object) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1))
    partial.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
