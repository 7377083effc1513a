"""Checkpoints of unfinished trials in a store: a trial that moves resumes from there on any node."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.store import Store
from models.spec import CellSpec
from search.running.task import CellTask, NodeDrainingError
from training.checkpoint import scores_in
from training.score import RungScore

POLL_S = 1.0
"""How often a worker looks for a new checkpoint."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptTask:
    """A task that begins with the checkpoint in ``store``, where that is further than the node's own, and keeps it there.

    A store that fails costs a trial that moves some minutes, but no score: whoever has found that out waits for it no more.
    """

    task: CellTask
    store: Store

    def __call__(self, cell: CellSpec, seed: int, checkpoint: Path | None = None) -> Iterator[RungScore]:
        """As the task. The local checkpoint is deleted when the trial has ended, which the driver on its machine cannot do."""
        assert checkpoint is not None, "a trial of a search with a store has one"
        self._fetch(checkpoint)
        self._uploads.follow(checkpoint)
        try:
            for score in self.task(cell, seed, checkpoint):
                self._uploads.wake()  # the task saves before it tells
                yield score
        except NodeDrainingError:
            self._uploads.bring()
            raise
        except (OSError, MemoryError):  # Tune starts it again, maybe here
            raise
        except BaseException:
            if not self._uploads.is_failing and self._uploads.bring():  # else it may be the only copy
                checkpoint.unlink(missing_ok=True)
            self._uploads.follow(None)
            raise

    def _fetch(self, checkpoint: Path) -> None:
        if self._uploads.is_failing:
            return
        stored = checkpoint.with_suffix(".stored")
        try:
            if self.store.download(checkpoint.name, stored) and scores_in(stored) > scores_in(checkpoint):
                stored.replace(checkpoint)
        except OSError as error:
            self._uploads.fail(error)
        finally:
            stored.unlink(missing_ok=True)

    @cached_property
    def _uploads(self) -> "_Uploads":
        """One thread a process, whatever cell it has."""
        uploads = _Uploads(self.store)
        uploads.start()
        return uploads


class _Uploads(threading.Thread):
    """Brings a file to the store whenever it has changed, beside the training.

    Attributes:
        is_failing: whether nothing went well since the store failed.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(name="dpc-checkpoints", daemon=True)
        self.is_failing = False
        self._store = store
        self._path: Path | None = None
        self._uploaded: tuple[Path, int] | None = None
        self._woken, self._one_at_a_time = threading.Event(), threading.Lock()

    def follow(self, path: Path | None) -> None:
        """From now on this file."""
        self._path = path

    def wake(self) -> None:
        """Look at it now."""
        self._woken.set()

    def fail(self, error: OSError) -> None:
        """Take it that the store fails, and say so once."""
        if not self.is_failing:
            _LOG.warning("checkpoints are not kept: %s", error)
        self.is_failing = True

    def run(self) -> None:
        while True:
            self._woken.wait(POLL_S)
            self._woken.clear()
            self.bring()

    def bring(self) -> bool:
        """Upload the file where it has changed; returns whether the store holds it as it is."""
        with self._one_at_a_time:
            path = self._path
            if path is None:
                return False
            try:
                version = path, path.stat().st_mtime_ns
                if version != self._uploaded:
                    self._store.upload(path, path.name)
                    self._uploaded, self.is_failing = version, False
            except FileNotFoundError:
                return False
            except OSError as error:
                self.fail(error)
                return False
            return True
