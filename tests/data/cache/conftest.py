"""A finished cache that is to be copied."""

import numpy as np
import pytest

from data.cache.build import CacheBuild, build_cache
from data.cache.feature_cache import CacheKey
from data.datasets.contract import DatasetInfo, Sample, palette_of

NUM_SAMPLES = 6


class Numbered:
    """Samples whose number is in every pixel."""

    def __len__(self):
        return NUM_SAMPLES

    def __getitem__(self, index):
        return Sample(str(index), np.full((17, 17, 3), index, np.uint8), np.full((17, 17), index % 2, np.uint8))


@pytest.fixture
def cache(tmp_path):
    key = CacheKey({"name": "n", "split": "s"}, {"name": "b", "mean": [0.5] * 3}, 17, 17)
    build = CacheBuild(tmp_path / "shared", key, Numbered(), DatasetInfo("n", ("a", "b"), palette_of(2)), shard_size=2)
    return build_cache(build, lambda images_BHWC: images_BHWC[:, ::16, ::16].transpose(0, 3, 1, 2).astype(np.float32))
