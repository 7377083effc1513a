"""What a trial costs before its first step: a new worker, and the next cell on a worker that is there.

    python benchmarks/bench_setup.py

Runs the trial itself (``search.running.trial.CellTrial``) as a Ray actor on a made-up cache of CamVid's shape. The baseline of
a new cell is what it would cost on a worker of its own.
"""

import json
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import ray
from ray import cloudpickle
from result_file import save

from data.cache.build import CacheBuild, build_cache
from data.cache.feature_cache import CacheKey
from data.datasets.contract import DatasetInfo, Sample, palette_of
from models.spec import AtrousConv, Conv1x1, PyramidPooling
from search.config import load
from search.deciding.space import CellSpace
from search.running.nodes.cluster import connect
from search.running.trial import CellTrial
from training.proxy import ProxyTask
from training.settings import ProxySettings

IMAGES, CELLS = 16, 5
SHAPE, PIXELS = (320, 24, 31), (369, 481)


class Blank:
    """Empty images of CamVid's size."""

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(index), np.zeros((*PIXELS, 3), np.uint8), np.zeros(PIXELS, np.uint8))


@ray.remote(num_cpus=1)
class Worker:
    """A process of Ray's with a trial in it."""

    def __init__(self, pickled_task: bytes, checkpoints: Path) -> None:
        self._trial = CellTrial.__new__(CellTrial)
        self._trial.setup({}, pickled_task, checkpoints, (Conv1x1, AtrousConv, PyramidPooling), None)

    def ready(self) -> None:
        """Answers once the process is there."""

    def import_torch(self) -> float:
        return timed(lambda: __import__("training.proxy"))

    def cell(self, config: dict[str, Any]) -> tuple[float, float]:
        """Seconds until the cell's first score, and from there to its second: one step and a validation each."""
        self._trial.reset_config(config)
        return timed(self._trial.step), timed(self._trial.step)


def timed(run: Any) -> float:
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s


def main() -> None:
    config = load("search", ["experiment=camvid", "dataset.root=.", "proxy.rungs=[1,2]"])
    space, settings = config.build("space", CellSpace), config.build("proxy", ProxySettings)
    cells = [json.dumps(space.sample(Random(seed)).to_json()) for seed in range(CELLS)]
    with tempfile.TemporaryDirectory() as folder:
        key = CacheKey({"name": "blank", "split": "any"}, {"name": "made up", "mean": [0.5] * 3}, *PIXELS)
        build = CacheBuild(Path(folder), key, Blank(), DatasetInfo("blank", tuple("abcdefghijk"), palette_of(11)), shard_size=8)
        cache = build_cache(build, lambda images_BHWC: np.ones((len(images_BHWC), *SHAPE), np.float32))
        connect("local")
        started_s = time.perf_counter()
        worker = Worker.remote(cloudpickle.dumps(ProxyTask(cache, cache, settings)), Path(folder))  # type: ignore[attr-defined]
        ray.get(worker.ready.remote())
        actor_s = time.perf_counter() - started_s
        torch_s = ray.get(worker.import_torch.remote())
        firsts = []
        for cell in cells:
            first_s, second_s = ray.get(worker.cell.remote({"cell": cell, "seed": 0}))
            firsts.append(first_s - second_s)
        ray.shutdown()
    new_s, reused_s = actor_s + torch_s + firsts[0], median(firsts[1:])
    print(f"a new worker: process {actor_s:.2f} s, import torch {torch_s:.2f} s, first cell {firsts[0]:.2f} s: {new_s:.2f} s")
    print(f"the next cell on it, beyond its steps: {reused_s:.3f} s, {new_s / max(reused_s, 1e-3):.0f} times less")
    save(
        __file__,
        {"process, s": actor_s, "import torch, s": torch_s, "first cell on a worker, s": firsts[0], "next cell, s": reused_s},
    )


if __name__ == "__main__":
    main()
