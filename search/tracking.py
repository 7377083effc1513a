"""MLflow as a projection of the journal: the only file that knows MLflow.

One run a search and, nested in it, one run a cell. Every point carries the journal's own clock and what was written
before is found in MLflow by tags, so that writing again changes nothing. MLflow takes two seconds to import: that is
left to the first connection, which in a search is in the tracking thread.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from models.spec import PUBLISHED_OPERATORS, CellSpec, Operator
from search.evaluation import Status
from search.journal import CellProposed, JournalError, RungReached, SearchOpened, TrialEnded, read_events
from search.record import SearchRecord, TrialRecord

if TYPE_CHECKING:  # for the names of types alone
    from mlflow.entities import Run

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)

POLL_S = 1.0
"""How often a tracking thread looks into the journal."""
RETRY_S = (1.0, 60.0)
"""The first and the longest wait after a tracker failed; each wait is twice the one before."""

_SEARCH, _TRIAL, _CELL, _RETRAIN = "dpc.search", "dpc.trial", "dpc.cell", "dpc.retrain"
"""Tags by which runs are found again."""


class TrackingError(ValueError):
    """A tracker that does not answer, refuses, or holds no such run."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Which MLflow tracker shows the runs.

    Attributes:
        uri: ``sqlite:////absolute/mlflow.db``, a server (``http://host:5000``) or a database (``postgresql://...``);
            None until ``resolved``.
        experiment: MLflow's name for the list that the runs are in; made when missing.
        artifacts: where a new experiment keeps its files: a folder or a store's URI. None leaves it to the server, and
            for a SQLite file is ``mlartifacts`` beside it.
    """

    uri: str | None = None
    experiment: str = "dpc-search"
    artifacts: str | None = None

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise ValueError("tracking.experiment must not be empty.")
        if self.uri is None:
            return
        scheme = self.uri.partition(":")[0].partition("+")[0]
        if scheme not in ("sqlite", "postgresql", "mysql", "mssql", "http", "https") or "://" not in self.uri:
            raise ValueError(
                f"tracking.uri must be sqlite:////absolute/mlflow.db, http(s)://host:port or postgresql://..., got "
                f"{_public(self.uri)!r} (MLflow no longer writes into plain folders)."
            )
        if scheme == "sqlite" and len(self.uri.partition("://")[2]) < 2:
            raise ValueError(f"tracking.uri needs a file: sqlite:////absolute/mlflow.db, got {self.uri!r}.")

    def resolved(self, folder: Path) -> Self:
        """Itself; where it names no tracker, a SQLite file in ``folder``."""
        return self if self.uri else replace(self, uri=f"sqlite:///{folder.absolute()}/mlflow.db")

    @property
    def sqlite_file(self) -> Path | None:
        """The database, where it is a file."""
        is_file = self.uri is not None and self.uri.startswith("sqlite")
        return Path(str(self.uri).partition("://")[2][1:].partition("?")[0]) if is_file else None

    def __str__(self) -> str:
        return f"MLflow at {_public(str(self.uri))}"


def track(
    journal: Path,
    tracking: Tracking,
    operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS,
    files: Sequence[Path] = (),
) -> SearchRecord:
    """Bring the tracker up to date with a journal, here and now.

    Args:
        operators: the kinds of operator that the search's cells may hold.
        files: artifacts for the search's run, such as its leaderboard.

    Returns:
        What the tracker now shows.

    Raises:
        TrackingError: the journal has no search, the tracker fails, or another process is tracking this journal.
        JournalError: the journal is damaged.
    """
    projection = Projection(journal, tracking, operators)
    try:
        with _one_line_errors(tracking):
            projection.sync()
            if projection.record.opened is None:
                raise TrackingError(f"{journal}: there is no search to track.")
            projection.attach(files)
    finally:
        projection.close()
    return projection.record


def child_run_cell(run_id: str, uri: str) -> list[Any]:
    """The cell of a run, in DeepLab's published format and unchecked: ``CellSpec.from_json`` reads it.

    Raises:
        TrackingError: there is no such run or tracker, or the run has no cell.
    """
    tracking = Tracking(uri)
    if tracking.sqlite_file and not tracking.sqlite_file.exists():
        raise TrackingError(f"{tracking}: there is no such file.")
    with _one_line_errors(tracking):
        tags = _Tracker(tracking).run(run_id).data.tags
    try:
        cell = json.loads(tags[_CELL])
    except (KeyError, ValueError):
        cell = None
    if not isinstance(cell, list):
        raise TrackingError(f"{tracking}: run {run_id} has no cell; choose the run of a cell, not that of a search.")
    return cell


class TrackingThread(threading.Thread):
    """Follows a journal and keeps the tracker up to date beside the search, which it never stops or delays.

    Attributes:
        last_error: why the tracker is behind, in a line; None while it is not.
    """

    def __init__(self, journal: Path, tracking: Tracking, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> None:
        super().__init__(name="dpc-tracking", daemon=True)
        self.last_error: str | None = None
        self._projection = Projection(journal, tracking, operators)
        self._tracking = tracking
        self._files: Sequence[Path] = ()
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._is_complete = False

    def run(self) -> None:
        """Sync until closed; an error is kept, waited for, and tried again."""
        wait_s = POLL_S
        while not self._abandoned.is_set():
            is_last = self._closing.is_set()
            try:
                with _one_line_errors(self._tracking):
                    self._projection.sync(self._abandoned.is_set)
                    if is_last:
                        self._projection.attach(self._files)
                self.last_error, wait_s = None, POLL_S
                self._is_complete = is_last and not self._abandoned.is_set()
            except Exception as error:
                wait_s = RETRY_S[0] if self.last_error is None else min(2 * wait_s, RETRY_S[1])
                self.last_error = str(error)
            if is_last:
                break
            self._closing.wait(wait_s)
        self._projection.close()

    def close(self, timeout_s: float, files: Sequence[Path] = ()) -> bool:
        """Tell the tracker the rest and attach ``files`` to the search's run.

        A tracker that fails now is not waited for.

        Returns:
            After at most ``timeout_s``: whether the tracker shows all that the journal holds; ``track`` catches up.
        """
        self._files = files
        self._closing.set()
        self.join(timeout_s)
        self._abandoned.set()
        if self.is_alive() and self.last_error is None:
            self.last_error = f"{self._tracking}: not done after {timeout_s:g} s."
        return self._is_complete


class Projection:
    """Writes what a journal holds into a tracker, from where it left off.

    A trial that completed or was stopped ends as a FINISHED run with a ``final_miou``; one that diverged or failed as a
    FAILED run without; one that did not end is RUNNING. ``best_miou`` of the search is that of the leaderboard's first.

    Only one projection at a time writes a journal's runs. After a failed write it asks the tracker what arrived.
    """

    def __init__(self, journal: Path, tracking: Tracking, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> None:
        self.record = SearchRecord()
        self._journal, self._tracking, self._operators = journal, tracking, operators
        self._offset = 0
        self._ends: list[_SearchPoint] = []
        self._untold: set[int] = set()
        self._is_search_untold = False
        self._runs: _SearchRuns | None = None
        self._lock: IO[str] | None = None

    def sync(self, is_abandoned: Callable[[], bool] = lambda: False) -> None:
        """Tell the tracker all that the journal now holds, or less if ``is_abandoned`` says so between two runs."""
        self._read()
        if self.record.opened is None or not (self._is_search_untold or self._untold):
            return
        self._lock = self._lock or _locked(self._journal.with_suffix(".tracking.lock"))
        try:
            if self._runs is None:
                self._runs = _SearchRuns(_Tracker(self._tracking), self.record.opened)
                self._untold = set(self.record.trials) - self._runs.ended
            for trial in sorted(self._untold):
                if is_abandoned():
                    return
                self._runs.tell_trial(self.record.trials[trial])
                self._untold.remove(trial)
            self._runs.tell_search(self.record, self._ends)
            self._is_search_untold = False
        except Exception:
            self._runs, self._is_search_untold = None, True
            raise

    def attach(self, files: Sequence[Path]) -> None:
        """Put those of ``files`` that exist into the search's run; a file of the same name is replaced."""
        if self._runs is not None:
            self._runs.attach([file for file in files if file.exists()])

    def close(self) -> None:
        """Let another projection write."""
        if self._lock:
            self._lock.close()

    def _read(self) -> None:
        events, self._offset = read_events(self._journal, self._offset, self._operators)
        for event in events:
            self.record.apply(event)
            self._is_search_untold = True
            if isinstance(event, CellProposed | RungReached | TrialEnded):
                self._untold.add(event.trial)
            if isinstance(event, TrialEnded):
                best = self._ends[-1].best if self._ends else None
                candidates = [best, self.record.trials[event.trial]]
                scored = [trial for trial in candidates if trial is not None and trial.miou is not None]
                self._ends.append(_SearchPoint(event.time_s, max(scored, key=_rank, default=None)))


class RetrainRun:
    """The run of a cell's full training (``stage=retrain``). A tracker that fails is warned of once and told later.

    Args:
        identity: what makes it the same run when a killed training goes on, such as its output folder.
        settings: nested; they become parameters.
        cell: what is trained, where it is a cell.
    """

    def __init__(
        self,
        tracking: Tracking,
        name: str,
        identity: str,
        settings: Mapping[str, Any],
        cell: CellSpec | None = None,
        *,
        warn: Callable[[str], None] = _LOG.warning,
    ) -> None:
        self._tracking, self._name, self._warn = tracking, name, warn
        self._key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._params = _flat(settings) | (_cell_params(cell) if cell else {})
        self._tags = {_RETRAIN: self._key, "stage": "retrain"} | (_cell_tag(cell) if cell else {})
        self._start_s = time.time()
        self._run: tuple[_Tracker, str] | None = None
        self._waiting: deque[Callable[[_Tracker, str], None]] = deque()
        self._retry_s, self._retry_at_s = 0.0, 0.0

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each of ``metrics``; ``step`` is the training iteration."""
        now_s = time.time()
        self._do(lambda tracker, run_id: tracker.log(run_id, points=[_Point(now_s, step, metrics)]))

    def artifacts(self, folder: Path) -> None:
        """Keep the files of ``folder`` with the run."""
        self._do(lambda tracker, run_id: tracker.client.log_artifacts(run_id, str(folder)))

    def __enter__(self) -> Self:
        self._do(lambda tracker, run_id: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        failed = "FAILED" if kind is not None and issubclass(kind, Exception) else "KILLED"
        now_s = time.time()
        self._retry_at_s = 0.0
        self._do(lambda tracker, run_id: tracker.end(run_id, failed if kind else "FINISHED", now_s))

    def _do(self, action: Callable[["_Tracker", str], None]) -> None:
        self._waiting.append(action)
        if time.monotonic() < self._retry_at_s:
            return
        try:
            with _one_line_errors(self._tracking):
                self._run = self._run or self._open()
                while self._waiting:
                    self._waiting[0](*self._run)
                    self._waiting.popleft()
        except TrackingError as error:
            if not self._retry_s:
                self._warn(f"{error} The training goes on; its points are sent when the tracker answers.")
            self._retry_s = min(max(2 * self._retry_s, 10 * RETRY_S[0]), 10 * RETRY_S[1])
            self._retry_at_s = time.monotonic() + self._retry_s

    def _open(self) -> "tuple[_Tracker, str]":
        tracker = _Tracker(self._tracking)
        found = tracker.find(f"tags.`{_RETRAIN}` = '{self._key}'")
        run_id = found[0].info.run_id if found else tracker.create(self._name, self._start_s, self._tags)
        if found:
            tracker.client.update_run(run_id, status="RUNNING")
        known: Mapping[str, str] = found[0].data.params if found else {}
        tracker.log(run_id, {key: value for key, value in self._params.items() if key not in known})
        return tracker, run_id


@dataclass(frozen=True, slots=True)
class _Point:
    """Values of several metrics at one step."""

    time_s: float
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _SearchPoint:
    """A trial has ended; ``best`` is the first of the leaderboard by then."""

    time_s: float
    best: TrialRecord | None


class _SearchRuns:
    """The runs of one search as the tracker has them: that of the search, and one for each trial."""

    def __init__(self, tracker: "_Tracker", opened: SearchOpened) -> None:
        self._tracker, self._opened = tracker, opened
        self._id = _digest([opened.name, dict(opened.fingerprint), opened.time_s])
        self.ended: set[int] = set()
        self._search: Run | None = None
        self._trials: dict[int, str] = {}
        self._rungs_told: dict[int, int] = {}
        for run in tracker.find(f"tags.`{_SEARCH}` = '{self._id}'"):
            self._take_in(run)
        self._search_run = self._search.info.run_id if self._search else self._create_search()
        self._ends_told = int(self._search.data.metrics.get("trials_finished", 0)) if self._search else 0
        known: Mapping[str, str] = self._search.data.params if self._search else {}
        self._params = {key: value for key, value in _flat(opened.settings).items() if key not in known}
        self._status_told = str(self._search.info.status) if self._search else "RUNNING"

    def tell_trial(self, trial: TrialRecord) -> None:
        """Write what is new of ``trial``."""
        number, ended = trial.proposed.trial, trial.ended
        run_id = self._trials.get(number) or self._create_trial(trial)
        told = self._rungs_told.get(number, -1)
        points = [_rung_point(rung) for rung in trial.rungs[max(told, 0) :]]
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        if told < 0:
            self._tracker.attach_json(run_id, "cell.json", trial.cell.to_json())
            proposed = trial.proposed
            params = {"trial": str(number), "seed": str(proposed.seed)} | _cell_params(trial.cell)
            costs = {"params": proposed.params, "madds": proposed.madds, "rung": 0}
            points.insert(0, _Point(proposed.time_s, 0, costs))
        if ended:
            final = {"elapsed_s": trial.elapsed_s} | ({} if trial.miou is None else {"final_miou": trial.miou})
            points.append(_Point(ended.time_s, trial.rungs[-1].iteration if trial.rungs else 0, final))
            tags = {"status": ended.status, "reason": ended.reason}
        self._tracker.log(run_id, params, points, tags)
        self._rungs_told[number] = len(trial.rungs)
        if ended:
            has_score = ended.status in (Status.COMPLETED, Status.STOPPED)
            self._tracker.end(run_id, "FINISHED" if has_score else "FAILED", ended.time_s)
            self.ended.add(number)

    def tell_search(self, record: SearchRecord, ends: Sequence[_SearchPoint]) -> None:
        """Write what is new of the search itself."""
        points = []
        for finished, end in enumerate(ends[self._ends_told :], start=self._ends_told + 1):
            best_miou = end.best.miou if end.best else None
            values = {} if best_miou is None else {"best_miou": best_miou}
            points.append(_Point(end.time_s, finished, values | {"trials_finished": finished}))
        tags = {"status": "complete" if record.closed else "running"}
        if record.closed:
            tags["reason"] = record.closed.reason
        if ends and (best := ends[-1].best):
            tags["best"] = f"{_trial_name(best)}: {best.cell}"
        self._tracker.log(self._search_run, self._params, points, tags)
        self._params, self._ends_told = {}, len(ends)
        status = "FINISHED" if record.closed else "RUNNING"
        if status != self._status_told and record.closed:
            self._tracker.end(self._search_run, status, record.closed.time_s)
        elif status != self._status_told:
            self._tracker.client.update_run(self._search_run, status=status)
        self._status_told = status

    def attach(self, files: Sequence[Path]) -> None:
        for file in files:
            self._tracker.client.log_artifact(self._search_run, str(file))

    def _take_in(self, run: "Run") -> None:
        tag = run.data.tags.get(_TRIAL)
        if tag is None and self._search is None:
            self._search = run
        elif tag is not None and int(tag) not in self._trials:
            trial = int(tag)
            self._trials[trial] = run.info.run_id
            self._rungs_told[trial] = int(run.data.metrics.get("rung", -1)) if run.data.params else -1
            if run.info.status in ("FINISHED", "FAILED"):
                self.ended.add(trial)
        else:  # the answer to its creation was lost, and it was created again
            self._tracker.client.delete_run(run.info.run_id)

    def _create_search(self) -> str:
        tags = {_SEARCH: self._id, "stage": "search", "fingerprint": _digest(dict(self._opened.fingerprint))}
        return self._tracker.create(self._opened.name, self._opened.time_s, tags)

    def _create_trial(self, trial: TrialRecord) -> str:
        number = trial.proposed.trial
        tags = {_SEARCH: self._id, _TRIAL: str(number), "stage": "proxy", "status": "running"} | _cell_tag(trial.cell)
        tags["mlflow.parentRunId"] = self._search_run
        run_id = self._tracker.create(_trial_name(trial), trial.proposed.time_s, tags)
        self._trials[number] = run_id
        return run_id


class _Tracker:
    """MLflow's client for one experiment, in our words."""

    def __init__(self, tracking: Tracking) -> None:
        _be_quiet_and_brief()
        from mlflow import MlflowClient  # noqa: PLC0415 - two seconds; telemetry is decided at import

        self._tracking = tracking
        self._experiment: str | None = None
        self._has_artifact_store = True
        if tracking.sqlite_file:
            tracking.sqlite_file.absolute().parent.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking.uri)

    @property
    def experiment(self) -> str:
        """MLflow's id of the experiment, which is made when missing."""
        if self._experiment is None:
            found = self.client.get_experiment_by_name(self._tracking.experiment)
            self._experiment = found.experiment_id if found else self._create_experiment()
        return self._experiment

    def run(self, run_id: str) -> "Run":
        return self.client.get_run(run_id)

    def find(self, condition: str) -> "list[Run]":
        """The runs that ``condition`` (MLflow's filter string) holds for, oldest first."""
        found: list[Run] = []
        page: str | None = None
        while page is None or page:
            runs = self.client.search_runs(
                [self.experiment], condition, max_results=1000, order_by=["start_time ASC"], page_token=page
            )
            found += runs
            page = runs.token or ""
        return found

    def create(self, name: str, start_s: float, tags: Mapping[str, str]) -> str:
        """Create a run and return its id. Its tags are there from the first moment: it can be found again."""
        clipped = {key: _clipped(value) for key, value in tags.items()}
        return str(self.client.create_run(self.experiment, _ms(start_s), clipped, name).info.run_id)

    def log(
        self,
        run_id: str,
        params: Mapping[str, str] | None = None,
        points: Sequence[_Point] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add all to a run, in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

        metrics = [
            Metric(key, float(value), _ms(point.time_s), point.step) for point in points for key, value in point.values.items()
        ]
        texts = [Param(key, _clipped(value)) for key, value in (params or {}).items()]
        marks = [RunTag(key, _clipped(value)) for key, value in (tags or {}).items()]
        for few_metrics, few_texts, all_marks in zip_longest(
            _batches(metrics, 800), _batches(texts, 80), [marks], fillvalue=()
        ):
            self.client.log_batch(run_id, few_metrics, few_texts, all_marks)

    def attach_json(self, run_id: str, name: str, value: object) -> None:
        """Keep ``value`` as a file, unless the store of files fails: the tracker may answer where that does not."""
        if self._has_artifact_store:
            try:
                self.client.log_text(run_id, json.dumps(value, indent=2) + "\n", name)
            except Exception as error:
                self._has_artifact_store = False
                _LOG.info("no %s is kept: %s", name, error)

    def end(self, run_id: str, status: str, end_s: float) -> None:
        self.client.set_terminated(run_id, status, _ms(end_s))

    def _create_experiment(self) -> str:
        place = self._tracking.artifacts
        if place is None and self._tracking.sqlite_file:
            place = str(self._tracking.sqlite_file.absolute().parent / "mlartifacts")
        return str(self.client.create_experiment(self._tracking.experiment, place))


def _be_quiet_and_brief() -> None:
    """Settings of MLflow that the user may set otherwise.

    Retries are ours: MLflow's own send a creation again without a look at whether it arrived.
    """
    for name, value in (
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
        ("MLFLOW_LOGGING_LEVEL", "ERROR"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ):
        os.environ.setdefault(name, value)


@contextmanager
def _one_line_errors(tracking: Tracking) -> Iterator[None]:
    """Whatever MLflow, its database or its network raise becomes a TrackingError of one line."""
    try:
        yield
    except (JournalError, TrackingError):
        raise
    except Exception as error:
        text = str(error).replace(str(tracking.uri), _public(str(tracking.uri)))
        is_down = "Max retries exceeded" in text or "Connection refused" in text
        line = "it does not answer" if is_down else (text.splitlines() or [""])[0][:300] or type(error).__name__
        raise TrackingError(f"{tracking}: {line.rstrip('.')}.") from error


def _locked(path: Path) -> IO[str]:
    """An open file that holds the lock ``path`` until it is closed."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise TrackingError(f"{path.parent}: another process is tracking this search.") from None
    return file


def _rung_point(rung: RungReached) -> _Point:
    return _Point(rung.time_s, rung.iteration, {"miou": rung.miou, "loss": rung.loss, "rung": rung.rung})


def _trial_name(trial: TrialRecord) -> str:
    """Sorts by trial number, e.g. ``#0012 5f3a9c01``."""
    return f"#{trial.proposed.trial:04d} {trial.cell.digest[:8]}"


def _cell_params(cell: CellSpec) -> dict[str, str]:
    branches = {f"branch_{index}": str(branch) for index, branch in enumerate(cell.branches, start=1)}
    return {"digest": cell.digest, "branches": str(len(cell))} | branches


def _cell_tag(cell: CellSpec) -> dict[str, str]:
    return {_CELL: json.dumps(cell.to_json(), separators=(",", ":"))}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as parameters: ``{"space": {"num_branches": 5}}`` is ``space.num_branches`` = ``5``."""
    params: dict[str, str] = {}
    for key, value in settings.items():
        name = re.sub(r"[^\w\-. /]", "_", f"{prefix}{key}")[:250]
        if isinstance(value, Mapping) and value:
            params |= _flat(value, f"{name}.")
        else:
            params[name] = value if isinstance(value, str) else json.dumps(value, default=str)
    return params


def _rank(trial: TrialRecord) -> tuple[tuple[float, ...], int]:
    """As the leaderboard sorts."""
    return trial.evaluation().merit, -trial.proposed.trial


def _batches(values: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _clipped(text: str) -> str:
    """At most as long as MLflow takes."""
    return text if len(text) <= 6000 else f"{text[:5990]} ..."


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _public(uri: str) -> str:
    """``uri`` without its password."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri
