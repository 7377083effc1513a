"""What runs on a worker: one cell, a rung a step."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.result import DONE

from models.spec import CellSpec, Operator
from search.evaluation import Status
from training.score import DivergedError, RungScore

CellTask = Callable[[CellSpec, int, Path | None], Iterator[RungScore]]
"""Scores a cell at each rung, given its training seed and a checkpoint file; ``training.proxy.ProxyTask`` is one."""


class CellTrial(tune.Trainable):
    """One cell on one worker; a step trains it to its next rung.

    The task is unpickled, and with it torch imported, by the first step: Tune gives a pending trial to an actor that just
    finished and throws away the one that is starting for it, so that slow starts would leave slots empty for good.
    """

    def setup(  # type: ignore[override]  # with_parameters passes the rest
        self,
        config: dict[str, Any],
        pickled_task: bytes,
        max_iterations: int,
        checkpoints: Path,
        operators: tuple[type[Operator], ...],
    ) -> None:
        self._pickled_task, self._max_iterations = pickled_task, max_iterations
        self._checkpoints, self._operators = checkpoints, operators
        self._task: CellTask | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take over another cell in the same process: nothing is built before the first step."""
        self._config = new_config
        self._scores: Iterator[RungScore] | None = None
        self._told = 0
        return True

    def step(self) -> dict[str, Any]:
        """The next rung's score. What the cell itself is to blame for is a result, not an exception that Tune retries."""
        try:
            score = next(self._running())
        except DivergedError as error:
            return {"status": Status.DIVERGED.value, "reason": str(error), DONE: True}
        except (MemoryError, ArithmeticError, ValueError, TypeError, RuntimeError, OSError) as error:
            return {"status": Status.FAILED.value, "reason": _one_line(error), DONE: True}
        self._told += 1
        return {
            "rung": score.rung,
            "iteration": score.iteration,
            "miou": score.miou,
            "loss": score.loss,
            "elapsed_s": score.elapsed_s,
            DONE: score.iteration >= self._max_iterations,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """For a scheduler that pauses: only how far the trial has told; its state lies in the task's own checkpoint."""
        return {"told": self._told}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        self._scores, self._told = None, (checkpoint or {"told": 0})["told"]

    def _running(self) -> Iterator[RungScore]:
        if self._scores is None:
            cell = CellSpec.from_json(json.loads(self._config["cell"]), self._operators)
            path = checkpoint_path(self._checkpoints, cell)
            self._task = self._task or cloudpickle.loads(self._pickled_task)
            self._scores = self._task(cell, self._config["seed"], path)
            for _ in range(self._told):
                next(self._scores)
        return self._scores


def checkpoint_path(checkpoints: Path, cell: CellSpec) -> Path:
    """Where an unfinished cell's state lies."""
    return checkpoints / f"{cell.digest}.safetensors"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
