"""Filling a feature cache: any number of processes at once, on any number of machines that see the folder.

Each shard is claimed by a lock that dies with its holder, written beside its place and renamed. So a build may be killed at
any moment, and resumes with the shards that are missing.
"""

import fnmatch
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from data.cache.feature_cache import CacheKey, FeatureCache
from data.cache.files import (
    FORMAT,
    MANIFEST,
    CacheError,
    files_of,
    has_size,
    is_undamaged,
    read_manifest,
    write_array,
    write_seen,
)
from data.datasets.contract import DatasetInfo, Sample, UInt8Array
from data.digests import pixels_digest
from data.system.disk import check_room
from data.system.files import SUFFIX, write_text
from data.system.json_file import read_json
from data.system.locks import Lock, LockedError
from data.transforms import pad_sample

_T = TypeVar("_T")

Extract = Callable[[UInt8Array], npt.NDArray[np.floating[Any]]]
"""Padded RGB images (B, H, W, 3) uint8 to features (B, C, h, w); it pads nothing and normalises itself."""
POLL_S = 0.5
"""How often a build looks for shards that another process has claimed."""


class Samples(Protocol):
    """What is cached, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class CacheBuild:
    """A cache to be filled. It can be sent to other processes, which may all ``fill`` it at once.

    Attributes:
        root: folder of the caches.
        shard_size: images per file: what a killed process loses at most.
    """

    root: Path
    key: CacheKey
    samples: Samples
    info: DatasetInfo
    shard_size: int

    @property
    def folder(self) -> Path:
        return self.root / self.key.folder

    @property
    def shards(self) -> Sequence[range]:
        """The samples of each shard."""
        starts = range(0, len(self.samples), self.shard_size)
        return [range(start, min(start + self.shard_size, len(self.samples))) for start in starts]

    def is_finished(self) -> bool:
        """Whether there is nothing left to do.

        Raises:
            CacheError: a cache of another key lies there.
        """
        try:
            manifest = read_manifest(self.folder)
        except CacheError:
            return False
        if not all(has_size(self.folder, entry) for entry in files_of(manifest)):
            return False
        FeatureCache(self.folder, self.key)
        return True

    def unfinished(self) -> Sequence[int]:
        """Numbers of the shards that are missing or damaged; each byte of the others is read.

        What is damaged is deleted, unless another process has fixed it meanwhile.
        """
        with ThreadPoolExecutor() as readers:
            is_whole = list(readers.map(self._is_whole, range(len(self.shards))))
        missing = [index for index, whole in enumerate(is_whole) if not whole]
        for index in missing:
            if self._entry_file(index).exists():
                with suppress(LockedError), self._claimed(index):
                    if not self._is_whole(index):
                        self._entry_file(index).unlink(missing_ok=True)
        return missing

    def images_in(self, shards: Sequence[int]) -> int:
        """How many images the shards with these numbers hold."""
        return sum(len(self.shards[index]) for index in shards)

    def fill(
        self,
        extract: Extract,
        batch_size: int = 8,
        readers: int = 1,
        progress: Callable[[int], None] = lambda images: None,
    ) -> None:
        """Write shards until all are there, sharing the work with whoever fills the same cache.

        Args:
            readers: threads that load images ahead of the backbone.
            progress: called with how many further images are done.

        Raises:
            DatasetError: a sample cannot be read.
            ValueError: a sample is larger than the padded size.
            CacheError: features are not finite in the stored type.
            OSError: the disk is full, or will be.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = deque(range(len(self.shards)))
        held_by_others = 0
        while waiting:
            index = waiting.popleft()
            if self._entry_file(index).exists():
                continue
            try:
                with self._claimed(index):
                    if not self._entry_file(index).exists():
                        self._write_shard(index, extract, batch_size, readers, progress)
                        held_by_others = 0
            except LockedError:
                waiting.append(index)
                held_by_others += 1
            if held_by_others > len(waiting):
                time.sleep(POLL_S)
                held_by_others = 0

    def finish(self) -> Path:
        """Write the manifest; the folder is a cache from now on."""
        entries = [read_json(self._entry_file(index)) for index in range(len(self.shards))]
        _, channels, height, width = entries[0]["features"]["shape"]
        seen = {part: [entry.pop(part) for entry in entries] for part in ("images", "labelled", "label_pixels")}
        manifest = {
            "format": FORMAT,
            "key": asdict(self.key),
            "info": asdict(self.info),
            "channels": channels,
            "height": height,
            "width": width,
            "shards": entries,
            "seen": write_seen(self.folder, seen),
        }
        write_text(self.folder / MANIFEST, json.dumps(manifest, indent=1))
        for lock in self.folder.glob("*.lock"):
            lock.unlink(missing_ok=True)
        return self.folder

    def _entry_file(self, index: int) -> Path:
        return self.folder / f"shard-{index:05d}.json"

    def _claimed(self, index: int) -> Lock:
        """A shard belongs to who holds its lock."""
        return Lock(self._entry_file(index).with_suffix(".lock"))

    def _is_whole(self, index: int) -> bool:
        """Whether an earlier build finished a shard, its bytes checked."""
        samples = self.shards[index]
        try:
            entry = read_json(self._entry_file(index))
            is_same = entry["samples"] == [samples.start, samples.stop]
            return is_same and all(is_undamaged(self.folder, entry[part]) for part in _PARTS)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _write_shard(
        self, index: int, extract: Extract, batch_size: int, readers: int, progress: Callable[[int], None]
    ) -> None:
        there = {path.name for path in self.folder.iterdir()}
        for left_by_a_kill in fnmatch.filter(there, f"*-{index:05d}.*{SUFFIX}"):
            (self.folder / left_by_a_kill).unlink(missing_ok=True)
        features, labels, seen = [], [], []
        for batch in _batches(_ahead(self._prepared, self.shards[index], readers), batch_size):
            features.append(extract(np.stack([image_HWC for image_HWC, _, _ in batch])).astype(self.key.dtype))
            labels += [labels_HW for _, labels_HW, _ in batch]
            seen += [of_sample for _, _, of_sample in batch]
            progress(len(batch))
        arrays = {"features": np.concatenate(features), "labels": np.stack(labels)}
        missing = [samples for number, samples in enumerate(self.shards) if self._entry_file(number).name not in there]
        sample_bytes = sum(array.nbytes for array in arrays.values()) // len(labels)
        check_room(self.folder, sample_bytes * sum(map(len, missing)), "the features need")
        written = {part: write_array(self.folder / f"{part}-{index:05d}.npy", array) for part, array in arrays.items()}
        samples = self.shards[index]
        num_images = len(self.samples) // self.key.views.get("count", 1)
        seen = seen[: max(0, num_images - samples.start)]  # of further views nothing is told
        entry = {
            "samples": [samples.start, samples.stop],
            "images": [of_sample.digest for of_sample in seen],
            "labelled": [" ".join(map(str, np.flatnonzero(of_sample.label_pixels))) for of_sample in seen],
            "label_pixels": sum((of_sample.label_pixels for of_sample in seen), np.zeros(256, np.int64)).tolist(),
            **written,
        }
        write_text(self._entry_file(index), json.dumps(entry, indent=1))

    def _prepared(self, index: int) -> tuple[UInt8Array, UInt8Array, "_Seen"]:
        key, found = self.key, self.samples[index]
        sample = pad_sample(found, key.height_px, key.width_px, key.backbone["mean"], self.info.ignore_label)
        thinned = slice(None, None, key.label_stride), slice(None, None, key.label_stride)
        seen = _Seen(pixels_digest(found.image_HWC), np.bincount(found.labels_HW[thinned].ravel(), minlength=256))
        return sample.image_HWC, sample.labels_HW[thinned], seen


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is noted of a sample, before it is padded.

    Attributes:
        digest: of its image.
        label_pixels: cached labels of each value from 0 to 255.
    """

    digest: str
    label_pixels: npt.NDArray[np.int64]


_PARTS = ("features", "labels")


def build_cache(
    build: CacheBuild,
    extract: Extract,
    batch_size: int = 8,
    readers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Fill a cache in this process, going on where an earlier build stopped. Returns its folder.

    Args:
        progress: called with the images done and their total.

    Raises:
        As ``CacheBuild.fill``.
    """
    if build.is_finished():
        return build.folder
    total = len(build.samples)
    done = total - build.images_in(build.unfinished())

    def tell(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total)

    build.fill(extract, batch_size, readers, tell)
    return build.finish()


def _ahead(function: Callable[[int], _T], numbers: Sequence[int], readers: int) -> Iterator[_T]:
    """``map`` in threads that run a little ahead."""
    with ThreadPoolExecutor(readers) as pool:
        running: deque[Future[_T]] = deque()
        for number in numbers:
            running.append(pool.submit(function, number))
            if len(running) > 2 * readers + 2:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _batches(values: Iterator[_T], size: int) -> Iterator[list[_T]]:
    batch: list[_T] = []
    for value in values:
        batch.append(value)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
