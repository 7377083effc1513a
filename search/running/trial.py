"""What runs on a worker: one cell, a rung a step."""

import faulthandler
import json
import logging
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ray import cloudpickle, tune

from models.settings import KERNELS
from models.spec import CellSpec, Operator
from search.deciding.outcomes import Status
from search.running.faults.diagnosis import fault_of, is_shared_in_turns, one_line, this_location
from search.running.nodes.cluster import is_node_draining
from search.running.ray_internals import preempted
from search.running.task import CellTask, NodeDrainingError
from search.running.trial_files import hang_path
from training.allocator import keep_freed_memory
from training.score import DivergedError, RungScore

IN_TURNS = (
    "Trials that share a GPU wait for each other: start NVIDIA's MPS there (nvidia-cuda-mps-control -d), "
    "or take resources.gpu=1."
)
_OURS = {"data", "models", "training", "search"}


class CellTrial(tune.Trainable):
    """One cell on one worker; a step trains it to its next rung.

    The task is unpickled, and with it torch imported, by the first step: Tune gives a pending trial to an actor that just
    finished and throws away the one that is starting for it, so that slow starts would leave slots empty for good.
    """

    def setup(  # type: ignore[override]  # with_parameters passes the rest
        self,
        config: dict[str, Any],
        pickled_task: bytes,
        checkpoints: Path,
        operators: tuple[type[Operator], ...],
        timeout_s: float | None,
        threads: int,
    ) -> None:
        keep_freed_memory()
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is imported
        self._pickled_task, self._timeout_s = pickled_task, timeout_s
        self._checkpoints, self._operators = checkpoints, operators
        self._task: CellTask | None = None
        self._location = this_location()
        self._warnings = Warnings()
        logging.getLogger().addHandler(self._warnings)
        self._has_met_fault = False
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take over another cell in the same process: nothing is built before the first step."""
        self._config = new_config
        os.environ[KERNELS] = "1" if new_config["kernels"] else "0"
        self._scores: Iterator[RungScore] | None = None
        return True

    def step(self) -> dict[str, Any]:
        """The next rung's score.

        What the cell itself is to blame for is a result, and so is what it may be to blame for: a lack of memory, an error of
        a device, a disk or a damaged file. Then this process does nothing but hold its place until the driver ends it. Other
        trouble kills the process. On a node that drains Tune starts the trial again elsewhere.
        """
        if self._has_met_fault:
            threading.Event().wait()
        if is_node_draining():
            self._leave()
            raise preempted("the node of this trial is about to go")
        cell = CellSpec.from_json(json.loads(self._config["cell"]), self._operators)
        try:
            with _watchdog(hang_path(self._checkpoints, cell), self._timeout_s):
                score = asdict(next(self._running(cell)))
                said = [(kind, f"{self._location.address}: {line}") for kind, line in self._warnings.new()]
                if is_shared_in_turns(self._location, self._config["room"].get("GPU", 0.0)):
                    said.append((IN_TURNS, IN_TURNS))
                return {"score": score, "location": self._location, "said": said}
        except DivergedError as error:
            return {"failed": Status.DIVERGED.value, "reason": str(error)}
        except Exception as error:
            if fault := fault_of(error, self._location):
                self._has_met_fault = True
                return {"fault": fault}
            return {"failed": Status.FAILED.value, "reason": one_line(error)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The task's own checkpoint holds all of its state."""

    def _leave(self) -> None:
        """Let the task bring away what it keeps on this node."""
        if isinstance(self._scores, Generator):
            with suppress(NodeDrainingError):
                self._scores.throw(NodeDrainingError("the node of this trial is about to go"))

    def _running(self, cell: CellSpec) -> Iterator[RungScore]:
        if self._scores is None:
            self._task = self._task or cloudpickle.loads(self._pickled_task)
            with suppress(OSError):  # a full disk must not fail a trial that keeps nothing
                self._checkpoints.mkdir(parents=True, exist_ok=True)
            self._scores = self._task(cell, self._config["seed"], self._checkpoints / self._config["checkpoint"])
        return self._scores


class Warnings(logging.Handler):
    """What this project's own code warns of in a worker, where nobody looks, for the driver's screen."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: dict[str, str] = {}
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first of each kind, which is a line without what is filled into it."""
        if record.name.partition(".")[0] in _OURS:
            self._lines.setdefault(str(record.msg), record.getMessage())

    def new(self) -> list[tuple[str, str]]:
        """Kinds and lines that were not asked for yet."""
        new = [(kind, line) for kind, line in self._lines.items() if kind not in self._told]
        self._told.update(self._lines)
        return new


@contextmanager
def _watchdog(path: Path, timeout_s: float | None) -> Iterator[None]:
    """End this process if what runs within takes longer, even if it never gives control back to Python."""
    if timeout_s is None:
        path.unlink(missing_ok=True)  # of an attempt that had a limit
        yield
        return
    with _open_or_devnull(path) as file:
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    path.unlink(missing_ok=True)


def _open_or_devnull(path: Path) -> TextIO:
    """A full disk must not fail a trial that may never need the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError:
        return Path(os.devnull).open("w")
