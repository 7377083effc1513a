"""Ray Tune executes a study.

Tune asks the study for trials, runs them as actors, and its scheduler decides who goes on. It remembers nothing: its own
restore is not used, the journal is the truth (docs/decisions.md).
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.search import Searcher

from models.spec import Operator
from search.evaluation import Status
from search.resources import Resources
from search.schedulers import Scheduler
from search.study import Study
from search.tuning.cluster import check_cluster, slots
from search.tuning.early_stopping import build_scheduler
from search.tuning.trial import CellTask, CellTrial, checkpoint_path

MAX_PENDING = 16
"""Trials that wait for an actor at most; the more start at once, the sooner a large cluster is full."""
MAX_RETRIES = 2
"""How often a trial whose process died starts again, from its checkpoint, before it counts as failed."""


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
    check_cluster(resources)
    os.environ.update(_DRIVER_ENVIRONMENT)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(slots(resources), MAX_PENDING))
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
