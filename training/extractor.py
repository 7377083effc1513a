"""A frozen backbone fills a feature cache: in this process, or in several of this machine."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.cache.build import CacheBuild, build_cache
from data.cache.files import CacheError
from data.pool import process_pool
from data.system.cpus import available_cpus
from models.backbones import features_of
from models.settings import BackboneSettings
from training.allocator import keep_freed_memory
from training.device import given_device

POLL_S = 0.5


class FeatureExtractor:
    """Runs a frozen backbone: batch norm uses its running statistics, on the GPU where there is one."""

    def __init__(self, backbone: nn.Module, settings: BackboneSettings) -> None:
        keep_freed_memory()
        self._device = given_device()
        self._backbone = backbone.to(self._device).eval()
        self._mean_C11 = torch.tensor(settings.mean, device=self._device).view(3, 1, 1)
        self._std_C11 = torch.tensor(settings.std, device=self._device).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, images_BHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """Features (B, C, h, w) of RGB images."""
        images_BCHW = torch.from_numpy(images_BHWC).to(self._device).permute(0, 3, 1, 2).float() / 255
        features_BCHW = features_of(self._backbone, (images_BCHW - self._mean_C11) / self._std_C11)
        return features_BCHW.cpu().numpy()


@dataclass(frozen=True)
class Extraction:
    """A cache and the backbone that fills it. It can be sent to other processes, which may all ``fill`` it at once.

    Attributes:
        batch_size: images per forward pass; None for what suits the caches of the device, 8 on a GPU and 1 on a CPU.
    """

    build: CacheBuild
    backbone: nn.Module
    settings: BackboneSettings
    batch_size: int | None = None

    def fill(self, threads: int, progress: Callable[[int], None]) -> None:
        """``CacheBuild.fill``, in which up to ``threads`` threads load images."""
        self.build.fill(*self._arguments(threads), progress)

    def build_alone(self, threads: int, progress: Callable[[int, int], None]) -> Path:
        """``build_cache``, likewise."""
        return build_cache(self.build, *self._arguments(threads), progress)

    def _arguments(self, threads: int) -> tuple[FeatureExtractor, int, int]:
        """A GPU waits for many images at a time, a CPU has its own work to do."""
        has_gpu = given_device().type == "cuda"
        batch_size = self.batch_size or (8 if has_gpu else 1)
        return FeatureExtractor(self.backbone, self.settings), batch_size, threads if has_gpu else 1


def fill_in_processes(extraction: Extraction, workers: int | None, progress: Callable[[int, int], None]) -> Path:
    """Build a cache by ``workers`` processes; None for one per GPU, or one per CPU where there is none. Returns its folder.

    Args:
        progress: called with the images done and their total.

    Raises:
        CacheError: a process died; else as ``CacheBuild.fill``.
    """
    build = extraction.build
    workers = min(workers or max(1, torch.cuda.device_count() or available_cpus()), len(build.shards))
    if workers == 1:
        return extraction.build_alone(available_cpus(), progress)
    total = len(build.samples)
    done = multiprocessing.get_context("spawn").Value("q", total - build.images_in(build.unfinished()))
    try:
        with process_pool(workers, _assign, (extraction, done)) as pool:
            running = {pool.submit(_fill, number, workers) for number in range(workers)}
            while running:
                finished, running = wait(running, POLL_S, FIRST_COMPLETED)
                progress(done.value, total)
                for future in finished:
                    future.result()
    except BrokenProcessPool as error:
        raise CacheError(
            f"{build.folder}: a process that extracted features died, perhaps for lack of memory. Run the same command again; "
            "cache.workers=1 needs the least memory."
        ) from error
    return build.finish()


_assignment: tuple[Extraction, "Synchronized[int]"]


def _assign(extraction: Extraction, done: "Synchronized[int]") -> None:
    global _assignment  # noqa: PLW0603 - a process' own, set once when it starts
    _assignment = extraction, done


def _fill(number: int, workers: int) -> None:
    extraction, done = _assignment
    threads = max(1, available_cpus() // workers)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())

    def tell(images: int) -> None:
        with done.get_lock():
            done.value += images

    extraction.fill(threads, tell)
