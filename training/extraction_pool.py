"""Processes of this machine fill a feature cache."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch

from data.feature_cache import CacheError
from data.pool import process_pool
from training.extractor import Extraction

POLL_S = 0.5


def fill_in_processes(extraction: Extraction, workers: int | None, progress: Callable[[int, int], None]) -> Path:
    """Build a cache by ``workers`` processes; None for one a GPU, or one a CPU where there is none. Returns its folder.

    Args:
        progress: told the images done and in all.

    Raises:
        CacheError: a process died; else as ``CacheBuild.fill``.
    """
    build = extraction.build
    workers = min(workers or max(1, torch.cuda.device_count() or _cpus()), len(build.shards))
    if workers == 1:
        return extraction.build_alone(_cpus(), progress)
    total = len(build.samples)
    done = multiprocessing.get_context("spawn").Value("q", total - build.images_in(build.unfinished()))
    try:
        with process_pool(workers, _keep, (extraction, done)) as pool:
            running = {pool.submit(_fill, number, workers) for number in range(workers)}
            while running:
                finished, running = wait(running, POLL_S, FIRST_COMPLETED)
                progress(done.value, total)
                for future in finished:
                    future.result()
    except BrokenProcessPool as error:
        raise CacheError(
            f"{build.folder}: a process that extracted features died, maybe for want of memory; the same command goes on, "
            "and cache.workers=1 needs the least memory."
        ) from error
    return build.finish()


_kept: tuple[Extraction, "Synchronized[int]"]


def _keep(extraction: Extraction, done: "Synchronized[int]") -> None:
    global _kept  # noqa: PLW0603 - a process' own, set once when it starts
    _kept = extraction, done


def _fill(number: int, workers: int) -> None:
    extraction, done = _kept
    threads = max(1, _cpus() // workers)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())

    def tell(images: int) -> None:
        with done.get_lock():
            done.value += images

    extraction.fill(threads, tell)


def _cpus() -> int:
    return os.cpu_count() or 1
