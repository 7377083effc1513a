"""Ray Tune executes a study: the only file that knows Ray Tune.

Tune asks the study for trials, runs them as actors, and its scheduler decides who goes on. It remembers nothing: its own
restore is not used, the journal is the truth (docs/decisions.md).
"""

import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune.result import DONE
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    MedianStoppingRule,
    TrialScheduler,
)
from ray.tune.search import Searcher

from models.spec import CellSpec, Operator
from search.evaluation import Status
from search.resources import Resources
from search.schedulers import Asha, Hyperband, MedianStopping, NoStopping, Scheduler
from search.study import Study
from training.score import DivergedError, RungScore

CellTask = Callable[[CellSpec, int, Path | None], Iterator[RungScore]]
"""Scores a cell at each rung, given its training seed and a checkpoint file; ``training.proxy.ProxyTask`` is one."""

MAX_PENDING = 16
"""Trials that wait for an actor at most; the more start at once, the sooner a large cluster is full."""
MAX_RETRIES = 2
"""How often a trial whose process died starts again, from its checkpoint, before it counts as failed."""


def connect(address: str | None) -> None:
    """Join the Ray cluster at ``address`` or of the surrounding job; without one, start Ray on this machine.

    Raises:
        ConnectionError: no cluster answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    is_local = address == "local"
    if ":" in address:
        _check_answers(address)
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False if is_local else None,
        runtime_env={"env_vars": _WORKER_ENVIRONMENT},
    )


def run_study(
    study: Study,
    task: CellTask,
    scheduler: Scheduler,
    resources: Resources,
    rungs: Sequence[int],
    checkpoints: Path,
    operators: tuple[type[Operator], ...],
) -> None:
    """Run the study's trials on the connected cluster until none is left or the user interrupts.

    Args:
        rungs: training iterations at which the task scores a cell; the last is the full budget.
        checkpoints: folder for the state of unfinished trials; on a cluster, one that all nodes see.

    Raises:
        ResourcesError: no node can hold a single trial.
    """
    _check_cluster(resources)
    os.environ.update(_DRIVER_ENVIRONMENT)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(_slots(resources), MAX_PENDING))
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    scratch = Path(tempfile.mkdtemp(prefix="dpc-tune-"))
    trainable = tune.with_parameters(
        CellTrial,
        pickled_task=cloudpickle.dumps(task),
        max_iterations=rungs[-1],
        checkpoints=checkpoints,
        operators=operators,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
        tune_config=tune.TuneConfig(
            metric="miou",
            mode="max",
            search_alg=_StudySearcher(study),
            scheduler=build_scheduler(scheduler, rungs),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name="tune",
            verbose=0,
            callbacks=[_StudyRecorder(study, rungs[-1], checkpoints)],
            failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    study.close()


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"ray.address: no Ray cluster answers at {address}; accepted are null, auto and <host>:<port> of a head."
        ) from error


def _slots(resources: Resources) -> int:
    """How many trials the cluster holds at once."""
    there = ray.cluster_resources()
    wanted = {"CPU": resources.cpu, "GPU": resources.gpu}
    return max(1, min(int(there.get(name, 0) / amount) for name, amount in wanted.items() if amount))


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


def build_scheduler(scheduler: Scheduler, rungs: Sequence[int]) -> TrialScheduler:
    """Ray Tune's scheduler for ours. Every trial is scored at the same iterations, so decisions compare equal rungs."""
    match scheduler:
        case Asha(grace_iterations, reduction_factor):
            return _LiveAsha(
                time_attr="iteration",
                max_t=rungs[-1],
                grace_period=min(grace_iterations, rungs[-1]),
                reduction_factor=reduction_factor,
            )
        case Hyperband(reduction_factor):
            return HyperBandForBOHB(  # the plain one halves a bracket before it is full when trials come one by one
                time_attr="training_iteration", max_t=len(rungs), reduction_factor=reduction_factor
            )
        case MedianStopping(grace_iterations, min_trials):
            return _LiveMedianStopping(time_attr="iteration", grace_period=grace_iterations, min_samples_required=min_trials)
        case NoStopping():
            return _LiveFifo()
    raise TypeError(f"no Ray Tune scheduler for {scheduler!r}")


class _LiveFifo(FIFOScheduler):
    """Chooses among live trials only: Tune's own scans every trial ever run, at every event."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        live = tune_controller.get_live_trials()
        by_status = {trial.status: trial for trial in reversed(list(live))}
        return by_status.get("PENDING") or by_status.get("PAUSED")


class _LiveAsha(_LiveFifo, AsyncHyperBandScheduler):
    """ASHA that scans live trials only."""


class _LiveMedianStopping(_LiveFifo, MedianStoppingRule):
    """Median stopping that scans live trials only."""


class _NotSaved:
    """Tune pickles all it is given for a restore of its own, which is never used: there is nothing to save."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _StudySearcher(_NotSaved, Searcher):
    """Hands the study's trials to Tune."""

    def __init__(self, study: Study) -> None:
        super().__init__(metric="miou", mode="max")
        self._study = study

    def suggest(self, trial_id: str) -> Any:
        proposed = self._study.propose()
        if proposed is None:
            return Searcher.FINISHED
        return {"trial": proposed.trial, "cell": json.dumps(proposed.cell.to_json()), "seed": proposed.seed}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder journals the end."""

    def on_pause(self, trial_id: str) -> None:
        """Hyperband's word that a trial waits for its bracket; nothing changes for the study."""

    def on_unpause(self, trial_id: str) -> None:
        """Likewise when it goes on."""

    def save(self, checkpoint_path: str) -> None:
        """The journal holds all that Tune would save."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search resumes from its journal")


class _StudyRecorder(_NotSaved, tune.Callback):
    """Tells the study what Tune's trials do."""

    def __init__(self, study: Study, max_iterations: int, checkpoints: Path) -> None:
        self._study, self._max_iterations, self._checkpoints = study, max_iterations, checkpoints

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if "miou" in result:
            self._study.reached(
                trial.config["trial"],
                result["rung"],
                result["iteration"],
                result["miou"],
                result["loss"],
                result["elapsed_s"],
            )

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        result = trial.last_result
        if "status" in result:
            self._end(trial, Status(result["status"]), result["reason"])
        elif result["iteration"] >= self._max_iterations:
            self._end(trial, Status.COMPLETED, "full budget")
        else:
            self._end(trial, Status.STOPPED, f"by the scheduler at rung {result['rung']}")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        last_line = str(trial.get_error() or "its process died").strip().splitlines()[-1]
        self._end(trial, Status.FAILED, f"after {MAX_RETRIES} retries: {last_line}")

    def _end(self, trial: Any, status: Status, reason: str) -> None:
        number = trial.config["trial"]
        self._study.ended(number, status, reason)
        checkpoint_path(self._checkpoints, self._study.record.trials[number].cell).unlink(missing_ok=True)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _check_cluster(resources: Resources) -> None:
    """Some node must hold a trial; an autoscaling cluster may still grow one, a cluster without nodes cannot be asked."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most_cpu = max(node.get("CPU", 0) for node in nodes)
    most_gpu = max(node.get("GPU", 0) for node in nodes)
    resources.check_fits(most_cpu, most_gpu, "the largest node of the cluster")


_WORKER_ENVIRONMENT = {
    # Waiting OpenMP threads sleep instead of spinning against the other trials of the machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Big temporaries are reused instead of unmapped: 1.13 to 1.2 times the steps on CPU (docs/log.md).
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
_DRIVER_ENVIRONMENT = {
    # The journal records results; Tune's CSV, JSON and TensorBoard loggers cost most of the driver's time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A diverged trial has no mIoU, which must not end the whole search.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The old output engine prints nothing at verbose=0, the new one still prints a banner.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Tune's snapshots of the experiment are never read.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}
