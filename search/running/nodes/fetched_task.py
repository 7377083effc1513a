"""A task for nodes that share no disk: what it reads is fetched from a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.cache.stored_copy import fetch_from_store
from data.store import Store
from models.spec import CellSpec
from search.running.trial import CellTask
from training.score import RungScore


@dataclass(frozen=True)
class FetchedTask:
    """Scores a cell once the node has the feature caches in ``folders``, each of which lies in ``store`` by its name."""

    task: CellTask
    store: Store
    folders: Sequence[Path]

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """As ``task``.

        Raises:
            CacheError: a cache is not in the store, or arrives damaged.
            OSError: the store fails, or the node's disk is full: Tune tries again, elsewhere if it can.
        """
        for folder in self.folders:
            fetch_from_store(self.store / folder.name, folder)
        yield from self.task(cell, seed, checkpoint)
