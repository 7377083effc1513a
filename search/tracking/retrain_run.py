"""The MLflow run of a full training."""

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from data.system.backoff import Backoff
from models.spec import CellSpec
from search.tracking.client import Point, Tracker, one_line_errors
from search.tracking.params import cell_params, cell_tag, flat_params
from search.tracking.settings import Tracking, TrackingError

if TYPE_CHECKING:  # for the names of types alone
    import numpy.typing as npt
    from PIL.Image import Image

_LOG = logging.getLogger(__name__)

RETRAIN_TAG = "dpc.retrain"
RETRY_S = (10.0, 600.0)
"""The first and the longest wait after a tracker failed."""


class RetrainRun:
    """The run of a cell's full training (``stage=retrain``). A tracker that fails is warned of once and told later.

    A training that goes on after a kill, or is repeated, finds its run again and adds no point that is there already.

    Args:
        folder_id: of the folder that a killed training goes on in. With other settings it is another training, and another run.
        settings: nested; they become parameters.
        cell: what is trained, where it is a cell.
        tags: what else a person should know; it makes no other run.

    Attributes:
        refused: what the tracker will never take, or did not to the end, in a line each.
    """

    def __init__(
        self,
        tracking: Tracking,
        name: str,
        folder_id: str,
        settings: Mapping[str, Any],
        cell: CellSpec | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        warn: Callable[[str], None] = _LOG.warning,
    ) -> None:
        self._tracking, self._name, self._warn = tracking, name, warn
        self.refused: list[str] = []
        self._params = flat_params(settings) | (cell_params(cell) if cell else {})
        identity = json.dumps([folder_id, self._params], sort_keys=True)
        self._key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._tags = {RETRAIN_TAG: self._key, "stage": "retrain", **(tags or {})} | (cell_tag(cell) if cell else {})
        self._start_s = time.time()
        self._run: tuple[Tracker, str] | None = None
        self._shown = set[tuple[str, int, float]]()
        self._waiting: deque[Callable[[Tracker, str], None]] = deque()
        self._backoff, self._retry_at_s, self._has_warned = Backoff(*RETRY_S), 0.0, False

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each of ``metrics``; ``step`` is the training iteration."""
        now_s = time.time()

        def add(tracker: Tracker, run_id: str) -> None:
            new = {key: value for key, value in metrics.items() if (key, step, value) not in self._shown}
            if new:
                tracker.log(run_id, points=[Point(now_s, step, new)])

        self._do(add)

    def artifacts(self, files: Sequence[Path]) -> None:
        """Keep files with the run."""

        def keep(tracker: Tracker, run_id: str) -> None:
            for file in files:
                tracker.client.log_artifact(run_id, str(file))

        self._do(keep)

    def picture(self, name: str, picture: "Image", step: int) -> None:
        """Keep a picture of one step of the training; the dashboard has a slider over those of one name."""
        now_ms = round(1000 * time.time())
        self._do(lambda tracker, run_id: tracker.client.log_image(run_id, picture, key=name, step=step, timestamp=now_ms))

    def register(self, file: Path, name: str, example_BCHW: "npt.NDArray[Any]", num_classes: int) -> None:
        """Keep an ONNX file, a model of images, as the run's model and register it."""
        self._do(lambda tracker, run_id: tracker.register_onnx(run_id, file, name, example_BCHW, num_classes))

    def __enter__(self) -> Self:
        self._do(lambda tracker, run_id: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        failed = "FAILED" if kind is not None and issubclass(kind, Exception) else "KILLED"
        now_s = time.time()
        self._retry_at_s = 0.0
        self._do(lambda tracker, run_id: tracker.end(run_id, failed if kind else "FINISHED", now_s))
        if self._waiting:
            lacking = f"lacks {len(self._waiting)} entries of this training"
            lacks = f"{self._tracking}: {lacking}; run the same command again to send them."
            self.refused.append(lacks)
            self._warn(lacks)

    def _do(self, action: Callable[["Tracker", str], None]) -> None:
        self._waiting.append(action)
        if time.monotonic() < self._retry_at_s:
            return
        try:
            with one_line_errors(self._tracking):
                self._run = self._run or self._open()
            while self._waiting:
                self._tell(self._waiting[0], *self._run)
                self._waiting.popleft()
        except TrackingError as error:
            if not self._has_warned:
                self._warn(f"{error} The training continues; its points are sent when the tracker answers.")
            self._has_warned = True
            self._retry_at_s = time.monotonic() + self._backoff.next_s()
        else:
            self._backoff.reset()

    def _tell(self, action: Callable[["Tracker", str], None], tracker: "Tracker", run_id: str) -> None:
        try:
            with one_line_errors(self._tracking):
                action(tracker, run_id)
        except TrackingError as error:
            if not error.is_permanent:
                raise
            self.refused.append(str(error))
            self._warn(f"{error} It is left out.")

    def _open(self) -> "tuple[Tracker, str]":
        tracker = Tracker(self._tracking)
        found = tracker.find(f"tags.`{RETRAIN_TAG}` = '{self._key}'")
        run_id = found[0].info.run_id if found else tracker.create(self._name, self._start_s, self._tags)
        if found:
            tracker.client.update_run(run_id, status="RUNNING")
            self._shown = tracker.points_of(run_id)
        known: Mapping[str, str] = found[0].data.params if found else {}
        tracker.log(run_id, {key: value for key, value in self._params.items() if key not in known})
        return tracker, run_id
