"""The feature cache against its floors: building it against the bare backbone's forward pass, batches against a plain copy.

    python benchmarks/bench_cache.py                    # images of Cityscapes' size, made up; MobileNet-v2, untrained
    python benchmarks/bench_cache.py dataset=camvid dataset.root=... backbone.weights=...

Both sides of a ratio run in the same processes one after the other, on as many threads. Reading is measured on a cache of
Cityscapes' shape, ``--rows`` of it, in the page cache.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from result_file import save

from data.cache.build import CacheBuild, build_cache
from data.cache.feature_cache import CacheKey, FeatureCache
from data.cache.settings import CacheSettings
from data.datasets.contract import DatasetInfo, Sample, SegmentationDataset, palette_of
from data.pool import process_pool
from data.transforms import pad_sample
from models.backbones import build_backbone
from models.pretrained import settle
from models.settings import BackboneChoice
from search.config import load
from training.allocator import keep_freed_memory
from training.extraction import plan_cache
from training.extractor import FeatureExtractor

CITY = ["dataset=folder", "dataset.classes=[a,b]", "backbone=mobilenetv2", "backbone.weights=null"]
IMAGES = 8
CITY_SHAPE, CITY_PX, BATCH = (320, 65, 129), (1025, 2049), 8
FORWARD_BATCH = 1  # the default on a CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=512, help="images in the cache that is read")
    parser.add_argument("--rounds", type=int, default=5, help="of forward pass and building")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_cache") as folder:
        overrides = options.overrides or [*CITY, f"dataset.root={made_up(Path(folder) / 'data')}"]
        processes = os.cpu_count() or 1
        with process_pool(processes) as pool:
            roots = [Path(folder) / str(number) for number in range(processes)]
            jobs = [pool.submit(build_rates, overrides, root, options.rounds) for root in roots]
            rates = [job.result() for job in jobs]
        bare, built = (sum(rate) for rate in zip(*rates, strict=True))
        print(f"{processes} processes of one thread, images a second: bare forward {bare:.2f}, cache {built:.2f}")
        print(f"building a cache: {built / bare:.2f} of the bare backbone's speed")
        figures = {"forward, images/s": bare, "build, images/s": built, "build to forward, x": built / bare}
        save(__file__, figures | read(Path(folder), options.rows))


def build_rates(overrides: list[str], root: Path, rounds: int) -> tuple[float, float]:
    """Images a second of the forward pass alone, and of building a cache, in alternating rounds."""
    torch.set_num_threads(1)
    config = load("cache", overrides)
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    settings = settle(config.build("backbone", BackboneChoice)).settings
    extract = FeatureExtractor(build_backbone(settings), settings)
    forward_s, build_s = [], []
    for number in range(rounds + 1):
        build = plan_cache(dataset, "train", "none", settings, CacheSettings(str(root / str(number))))
        samples = [
            pad_sample(build.samples[i], build.key.height_px, build.key.width_px, settings.mean, 255) for i in range(IMAGES)
        ]
        images = [sample.image_HWC for sample in samples]
        start_s = time.perf_counter()
        for first in range(0, IMAGES, FORWARD_BATCH):
            extract(np.stack(images[first : first + FORWARD_BATCH]))
        forward_s.append(time.perf_counter() - start_s)
        some = CacheBuild(build.root, build.key, FirstOf(build.samples), build.info, build.shard_size)
        start_s = time.perf_counter()
        build_cache(some, extract, FORWARD_BATCH)
        build_s.append(time.perf_counter() - start_s)
    return IMAGES / median(forward_s[1:]), IMAGES / median(build_s[1:])


class FirstOf:
    """The first samples of a split."""

    def __init__(self, samples: object) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]  # type: ignore[index, no-any-return]


def read(root: Path, rows: int) -> dict[str, float]:
    """Open a cache of Cityscapes' shape, verify it, and read random batches."""
    key = CacheKey({"name": "city", "split": "train"}, {"name": "made up", "mean": [0.5] * 3}, *CITY_PX)
    rng = np.random.default_rng(0)
    features_CHW = rng.standard_normal(CITY_SHAPE, np.float32)
    build = CacheBuild(root, key, Blank(rows), DatasetInfo("city", ("a", "b"), palette_of(2)), shard_size=15)
    folder = build_cache(build, lambda images_BHWC: np.broadcast_to(features_CHW, (len(images_BHWC), *CITY_SHAPE)))
    start_s = time.perf_counter()
    cache = FeatureCache(folder)
    opened_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    cache.verify()
    verified_s = time.perf_counter() - start_s
    print(f"cache of {rows} x {CITY_SHAPE}: {cache.bytes / 1e9:.2f} GB, opened in {1000 * opened_s:.1f} ms")
    print(f"verified in {verified_s:.1f} s, {cache.bytes / verified_s / 1e9:.2f} GB/s")
    keep_freed_memory()  # as trials do
    read_s, copied_s = [], []
    plain = tuple(part.copy() for part in cache.batch(range(BATCH)))
    for _ in range(4 * rows // BATCH):
        indices = rng.integers(0, rows, BATCH).tolist()
        start_s = time.perf_counter()
        cache.batch(indices)
        read_s.append(time.perf_counter() - start_s)
        start_s = time.perf_counter()
        for part in plain:
            part.copy()
        copied_s.append(time.perf_counter() - start_s)
    print(f"random batches of {BATCH}, a second: plain copy {1 / median(copied_s):.1f}, cache {1 / median(read_s):.1f}")
    ratio = median(copied_s) / median(read_s)
    print(f"reading a batch: {ratio:.2f} of the plain copy's speed")
    return {"open, ms": 1000 * opened_s, "verify, s": verified_s, "batches, /s": 1 / median(read_s), "read to copy, x": ratio}


class Blank:
    """Empty images of Cityscapes' size."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(index), np.zeros((*CITY_PX, 3), np.uint8), np.zeros(CITY_PX, np.uint8))


def made_up(root: Path) -> Path:
    """PNGs of 2048x1024 pixels that compress about as photographs do."""
    rng = np.random.default_rng(0)
    for part in ("train/images", "train/labels", "val/images", "val/labels"):
        (root / part).mkdir(parents=True)
    for index in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (128, 256, 3), np.uint8)).resize((2048, 1024), Image.Resampling.BICUBIC)
        noisy_HWC = np.asarray(coarse) // 2 + rng.integers(0, 8, (1024, 2048, 3), np.uint8)
        Image.fromarray(noisy_HWC.astype(np.uint8)).save(root / f"train/images/{index}.png")
        labels = Image.fromarray(rng.integers(0, 2, (64, 128), np.uint8)).resize((2048, 1024), Image.Resampling.NEAREST)
        labels.save(root / f"train/labels/{index}.png")
    return root


if __name__ == "__main__":
    main()
