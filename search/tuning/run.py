"""Ray Tune executes a study.

Tune asks the study for trials, runs them as actors, starts them again when their process dies, and asks the study who goes on.
It remembers nothing: its own restore is not used, the journal is the truth (docs/decisions.md).
"""

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from textwrap import shorten
from typing import Any

from ray import cloudpickle, tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from models.spec import Operator
from search.evaluation import Status
from search.faults import FaultTolerance
from search.resources import Resources
from search.study import Study
from search.tuning.cluster import check_cluster, most_pending
from search.tuning.trial import CellTask, CellTrial, checkpoint_path, hang_path
from training.score import RungScore

MAX_REASON = 240
"""Characters of a failure's reason: Ray explains at length."""


def run_study(
    study: Study,
    task: CellTask,
    resources: Resources,
    faults: FaultTolerance,
    checkpoints: Path,
    operators: tuple[type[Operator], ...],
    max_pending: int = 32,
) -> None:
    """Run the study's trials on the connected cluster until none is left or the user interrupts.

    Args:
        checkpoints: folder for the state of unfinished trials; on a cluster, one that all nodes see.
        operators: the kinds of operator that cells may hold.
        max_pending: trials that wait for a place at most; the more start at once, the sooner a large cluster is full.

    Raises:
        ResourcesError: no node, nor any that the autoscaler could start, can hold a single trial.
    """
    check_cluster(resources)
    os.environ.update(_DRIVER_ENVIRONMENT)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(most_pending(resources, max_pending))
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what failed is in the journal
    scratch = Path(tempfile.mkdtemp(prefix="dpc-tune-"))
    trainable = tune.with_parameters(
        CellTrial,
        pickled_task=cloudpickle.dumps(task),
        checkpoints=checkpoints,
        operators=operators,
        timeout_s=faults.rung_timeout_s,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
        tune_config=tune.TuneConfig(
            metric="miou",
            mode="max",
            search_alg=_StudySearcher(study),
            scheduler=_StudyScheduler(study, checkpoints),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name="tune",
            verbose=0,
            callbacks=[_StudyFailures(study, faults, checkpoints)],
            failure_config=tune.FailureConfig(max_failures=faults.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    study.close()
    if study.is_complete:  # a killed driver's worker may have written the state of its cell after we had forgotten it
        for path in checkpoints.glob(checkpoint_path(checkpoints, "*").name):
            path.unlink(missing_ok=True)


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
            return None if self._study.has_more else Searcher.FINISHED
        return {"trial": proposed.trial, "cell": json.dumps(proposed.cell.to_json()), "seed": proposed.seed}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has told the study."""

    def save(self, checkpoint_path: str) -> None:
        """The journal holds all that Tune would save."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search resumes from its journal")


class _StudyScheduler(_NotSaved, FIFOScheduler):
    """Tells the study each score, and Tune whether the trial goes on."""

    def __init__(self, study: Study, checkpoints: Path) -> None:
        super().__init__()
        self._study, self._checkpoints = study, checkpoints

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config["trial"]
        if "failed" in result:
            self._study.failed(number, Status(result["failed"]), result["reason"])
        else:
            values = {key.removeprefix("score/"): value for key, value in result.items() if key.startswith("score/")}
            if self._study.reached(number, RungScore(**values)):
                return str(FIFOScheduler.CONTINUE)
        _forget_checkpoint(self._study, number, self._checkpoints)
        return str(FIFOScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The oldest live trial that waits: Tune's own scans every trial ever run, at every event."""
        return next((trial for trial in tune_controller.get_live_trials() if trial.status == "PENDING"), None)


class _StudyFailures(_NotSaved, tune.Callback):
    """Tells the study of trials whose process failed once too often."""

    def __init__(self, study: Study, faults: FaultTolerance, checkpoints: Path) -> None:
        self._study, self._faults, self._checkpoints = study, faults, checkpoints

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        number = trial.config["trial"]
        reason = shorten(Path(trial.error_file).read_text().strip().splitlines()[-1], MAX_REASON)
        trace = hang_path(self._checkpoints, self._study.record.trials[number].cell)
        if trace.exists() and trace.stat().st_size:
            reason = f"hung: no score within {self._faults.rung_timeout_s:g} s, see {trace}"
        else:
            trace.unlink(missing_ok=True)
        self._study.failed(number, Status.FAILED, f"after {self._faults.retries} retries: {reason}")
        _forget_checkpoint(self._study, number, self._checkpoints)


def _forget_checkpoint(study: Study, trial: int, checkpoints: Path) -> None:
    checkpoint_path(checkpoints, study.record.trials[trial].cell.digest).unlink(missing_ok=True)


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
