"""Ray tasks fill a feature cache: as many at once as the cluster holds, spread over its nodes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from data.cache.files import CacheError
from search.running.nodes.cluster import check_cluster, most_pending, slots
from search.running.nodes.every_node import driver_node
from search.running.nodes.image_count import ImageCount
from search.running.resources import Resources
from training.extractor import Extraction

POLL_S = 0.5


def fill_by_tasks(
    extraction: Extraction,
    workers: int | None,
    progress: Callable[[int, int], None],
    resources: Resources,
    retries: int,
    max_pending: int,
) -> Path:
    """Build a cache on storage that all nodes of the connected cluster see. Returns its folder.

    Args:
        workers: tasks at most; None for as many as the cluster holds, and some for the nodes that these make it grow by.
        progress: told the images done and in all.
        resources: of each task.
        retries: how often a task whose process or node died starts again.
        max_pending: tasks that wait for a place at most.

    Raises:
        ResourcesError: no node can hold a task.
        CacheError: each task died once too often; else as ``CacheBuild.fill``.
    """
    check_cluster(resources)
    build = extraction.build
    missing = build.unfinished()
    total = len(build.samples)
    counter: Any = ray.remote(ImageCount)
    count = counter.options(num_cpus=0, scheduling_strategy=driver_node()).remote(total - build.images_in(missing))
    task: Any = ray.remote(_fill).options(**resources.of_task, max_retries=retries, scheduling_strategy="SPREAD")
    sent = ray.put(extraction)
    at_most = workers or slots(resources) + most_pending(resources, max_pending)
    running = [task.remote(sent, resources.threads, count) for _ in range(min(len(missing), at_most))]
    while running and not _is_filled(running):
        progress(min(total, ray.get(count.images.remote())), total)
    progress(total, total)
    return build.finish()


def _is_filled(running: list[ray.ObjectRef[None]]) -> bool:
    """Whether a task has ended well, before the next poll: then all shards are there, and the others end by themselves.

    Tasks that died are dropped from ``running``; those that are left go on. None is cancelled: Ray 2.60 may crash on one that
    ends at that moment.
    """
    ended, _ = ray.wait(running, timeout=POLL_S)
    for task in ended:
        try:
            ray.get(task)
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            running.remove(task)
            if not running:
                raise CacheError(
                    f"cache: each task that extracted features died ({type(error).__name__}), perhaps for lack of memory. "
                    "Run the same command again; cache.workers=1 needs the least memory."
                ) from error
        else:
            return True
    return False


def _fill(extraction: Extraction, threads: int, count: Any) -> None:
    torch.set_num_threads(threads)
    extraction.fill(threads, count.add.remote)
