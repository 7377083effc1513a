"""Ray Tune executes a study.

Tune asks for attempts at the study's trials, runs them as actors, tells how they fare, and is told which continue. It remembers
nothing: its own restore is not used, the journal is the truth (docs/decisions.md).
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from textwrap import shorten
from typing import Any

from ray import cloudpickle, tune
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from models.spec import Operator
from search.deciding.outcomes import Status
from search.journal.lines import JournalError
from search.journal.study import Study
from search.running.attempts import Attempts
from search.running.faults.diagnosis import death_of, died_at
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cluster import check_cluster, most_pending
from search.running.ray_internals import actor_of, keep_secrets, live_trials, stop_waiting
from search.running.resources import Resources
from search.running.task import CellTask
from search.running.trial import CellTrial
from search.running.trial_files import forget_checkpoints, hang_path
from training.score import RungScore

MAX_REASON = 240
"""Characters of a failure's reason: Ray explains at length."""


def run_study(
    study: Study,
    task: CellTask,
    *,
    resources: Resources,
    tolerance: FaultTolerance,
    checkpoints: Path,
    operators: tuple[type[Operator], ...],
    max_pending: int = 32,
    say: Callable[[str], None] = lambda line: None,
    max_concurrent: int | None = None,
    show_running: Callable[[Collection[int]], None] = lambda trials: None,
) -> None:
    """Run the study's trials on the connected cluster until none is left or the user interrupts, and close it.

    One that is over is only closed, and needs no cluster.

    Args:
        checkpoints: folder for the state of unfinished trials; on a cluster, one that all nodes see.
        operators: the kinds of operator that cells may hold.
        max_pending: trials that wait for a place at most; the more start at once, the sooner a large cluster is full.
        say: told in one line what a person should know meanwhile.
        max_concurrent: trials that run or wait at once at most; None for as many as there is room for.
        show_running: told again and again which trials run; others that were begun wait for a place.

    Raises:
        ResourcesError: no node, nor any that the autoscaler could start, can hold a single trial.
        JournalError: the journal is no longer there.
        OSError: it cannot be written.
    """
    if study.is_over:
        _close(study, checkpoints)
        return
    check_cluster(resources)
    forget_checkpoints(checkpoints, study.record.digest)
    os.environ.update(_DRIVER_ENVIRONMENT)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(most_pending(resources, max_pending))
    keep_secrets()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what failed is in the journal
    scratch = Path(tempfile.mkdtemp(prefix="dpc-tune-"))
    trainable = tune.with_parameters(
        CellTrial,
        pickled_task=cloudpickle.dumps(task),
        checkpoints=checkpoints,
        operators=operators,
        timeout_s=tolerance.rung_timeout_s,
        threads=resources.threads,
    )
    attempts = Attempts(study, tolerance, resources, checkpoints, say, max_concurrent)
    tuner = tune.Tuner(
        tune.with_resources(
            trainable,
            lambda attempt: tune.PlacementGroupFactory(
                [attempt["room"]], bundle_label_selector=resources.bundle_labels(attempt["avoided"])
            ),
        ),
        tune_config=tune.TuneConfig(
            metric="miou",
            mode="max",
            search_alg=_StudySearcher(study, attempts),
            scheduler=_StudyScheduler(attempts, show_running),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name="tune",
            verbose=0,
            callbacks=[_StudyFailures(study, attempts, tolerance, checkpoints)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        raise _told_by_journal(error) or error from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _close(study, checkpoints)


def _told_by_journal(error: BaseException | None) -> BaseException | None:
    """What the journal raised, where Tune's error is but a text of it."""
    while error is not None and not isinstance(error, JournalError | OSError):
        error = error.__context__
    return error


def _close(study: Study, checkpoints: Path) -> None:
    study.close()
    if study.is_complete:  # a killed driver's worker may have written the state of its cell after we had forgotten it
        forget_checkpoints(checkpoints)


class _NotSaved:
    """Tune pickles all it is given for a restore of its own, which is never used: there is nothing to save."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _StudySearcher(_NotSaved, Searcher):
    """Hands attempts to Tune."""

    def __init__(self, study: Study, attempts: Attempts) -> None:
        super().__init__(metric="miou", mode="max")
        self._study, self._attempts = study, attempts

    def suggest(self, trial_id: str) -> Any:
        if self._study.is_over:
            self._attempts.release()
            return Searcher.FINISHED
        return self._attempts.next(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has told the study."""

    def save(self, checkpoint_path: str) -> None:
        """The journal holds all that Tune would save."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search resumes from its journal")


class _StudyScheduler(_NotSaved, FIFOScheduler):
    """Tells each result, and Tune whether the attempt continues."""

    def __init__(self, attempts: Attempts, show_running: Callable[[Collection[int]], None]) -> None:
        super().__init__()
        self._attempts, self._show_running = attempts, show_running

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config["trial"]
        if not self._attempts.is_current(number, trial.trial_id):
            return str(FIFOScheduler.STOP)
        if "fault" in result:
            self._attempts.handle(number, result["fault"], actor_of(trial))
            return str(FIFOScheduler.CONTINUE)  # it waits, and is ended by whoever needs its place
        if "failed" in result:
            self._attempts.fail(number, Status(result["failed"]), result["reason"])
            return str(FIFOScheduler.STOP)
        self._attempts.say_once(result.get("said", ()))
        values = {key.removeprefix("score/"): value for key, value in result.items() if key.startswith("score/")}
        goes_on = self._attempts.report(number, RungScore(**values), result["location"])
        return str(FIFOScheduler.CONTINUE if goes_on else FIFOScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The oldest live trial that waits: Tune's own scans every trial ever run, at every event."""
        trials = live_trials(tune_controller)
        running, waiting = (
            [(trial.config["trial"], trial.trial_id) for trial in trials if trial.status == status]
            for status in ("RUNNING", "PENDING")
        )
        in_vain = self._attempts.see_to_room(running, waiting)
        for trial in trials:
            if trial.trial_id in in_vain:
                stop_waiting(tune_controller, trial)
        self._show_running([number for number, attempt in running if self._attempts.is_current(number, attempt)])
        return next((trial for trial in trials if trial.status == "PENDING"), None)


class _StudyFailures(_NotSaved, tune.Callback):
    """Tells when attempts begin, and when their process ended. Those that the driver itself ended are past by then."""

    def __init__(self, study: Study, attempts: Attempts, tolerance: FaultTolerance, checkpoints: Path) -> None:
        self._study, self._attempts, self._tolerance, self._checkpoints = study, attempts, tolerance, checkpoints

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._attempts.begin(trial.config["trial"], trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        number = trial.config["trial"]
        if not self._attempts.is_current(number, trial.trial_id):
            return
        text = Path(trial.error_file).read_text().strip()
        trace = hang_path(self._checkpoints, self._study.record.trials[number].cell)
        node, limit_s = died_at(text), self._tolerance.rung_timeout_s
        is_here = trace.exists() and trace.stat().st_size > 0
        if limit_s is not None and (is_here or self._attempts.silent_s(number) >= limit_s):  # else it is of an earlier run
            where = "" if is_here or node is None else f" on {node}"
            self._attempts.lost(number, f"hung: no score within {limit_s:g} s, see {trace}{where}", node)
            return
        trace.unlink(missing_ok=True)
        if death := death_of(text):
            self._attempts.try_alone(number, death)
        else:
            self._attempts.lost(number, shorten(text.splitlines()[-1], MAX_REASON), node)


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
