"""A journal as MLflow runs: one a search and, nested in it, one a cell.

Every point carries the journal's own clock and what was written before is found in MLflow by tags, so that writing again
changes nothing.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from data.system.locks import Lock, LockedError
from models.spec import PUBLISHED_OPERATORS, Operator
from search.deciding.outcomes import Status
from search.findings.leaderboard import percent, quantity
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded, TrialInherited
from search.journal.lines import BEGIN, read_events
from search.journal.record import SearchRecord, TrialRecord
from search.tracking.client import Point, Tracker
from search.tracking.dashboard_table import cells_view
from search.tracking.params import cell_params, cell_tag, flat_params
from search.tracking.settings import Tracking, TrackingError

if TYPE_CHECKING:  # for the names of types alone
    from mlflow.entities import Run

SEARCH_TAG, TRIAL_TAG = "dpc.search", "dpc.trial"
"""Tags by which runs are found again."""
CODE_VERSIONS = ("scoring_code", "search_code")
"""Parts of a fingerprint that are tags of their own."""
SENDERS = 8
"""Cells that a server is told of at once. A data base file has one writer."""
DESCRIBED = 10
"""Cells in the description of a search's run."""


class Projection:
    """Writes what a journal holds into a tracker, from where it left off.

    A trial that completed or was stopped ends as a FINISHED run with a ``final_miou``; one that diverged or failed as a
    FAILED run without; one that did not end is RUNNING. ``best_miou`` of the search is that of the leaderboard's first.

    Only one projection at a time writes a journal's runs. After a failed write it asks the tracker what arrived.

    Attributes:
        record: what the journal held when it was last read.
        link: to the cells in a dashboard; empty until the tracker has answered.
    """

    def __init__(self, journal: Path, tracking: Tracking, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> None:
        self.record = SearchRecord()
        self.link = ""
        self._journal, self._tracking, self._operators = journal, tracking, operators
        self._read_to = BEGIN
        self._ends: list[SearchPoint] = []
        self._untold: set[int] = set()
        self._is_search_untold = False
        self._runs: SearchRuns | None = None
        self._lock: Lock | None = None

    def sync(self, is_abandoned: Callable[[], bool] = lambda: False) -> None:
        """Tell the tracker all that the journal now holds, or less if ``is_abandoned`` says so between two runs."""
        self._read()
        if self.record.opened is None or not (self._is_search_untold or self._untold):
            return
        if self._lock is None:
            try:
                self._lock = Lock(self._journal.with_suffix(".tracking.lock"))
            except LockedError as holder:
                raise TrackingError(f"{self._journal.parent}: this search is tracked already ({holder}).") from None
        try:
            if self._runs is None:
                self._runs = SearchRuns(Tracker(self._tracking), self.record.opened)
                self.link = self._runs.link
                self._untold = set(self.record.trials) - self._runs.ended
            self._tell_trials(self._runs, is_abandoned)
            if self._untold:
                return
            self._runs.tell_search(self.record, self._ends)
            self._is_search_untold = False
        except Exception:
            self._runs, self._is_search_untold = None, True
            raise

    def attach(self, files: Sequence[Path]) -> None:
        """Put those of ``files`` that exist into the search's run, and the best cells into its description."""
        if self._runs is not None:
            self._runs.describe(self.record)
            self._runs.attach([file for file in files if file.exists()])

    def close(self) -> None:
        """Let another projection write."""
        if self._lock:
            self._lock.release()

    def _tell_trials(self, runs: "SearchRuns", is_abandoned: Callable[[], bool]) -> None:
        def tell(trial: int) -> None:
            if not is_abandoned():
                runs.tell_trial(self.record.trials[trial])
                self._untold.remove(trial)

        with ThreadPoolExecutor(SENDERS if self._tracking.is_server else 1) as senders:
            for _ in senders.map(tell, sorted(self._untold)):
                pass

    def _read(self) -> None:
        events, self._read_to = read_events(self._journal, self._read_to, self._operators)
        for event in events:
            self.record.apply(event)
            self._is_search_untold = True
            if isinstance(event, CellProposed | RungReached | TrialEnded | TrialInherited):
                self._untold.add(event.trial)
            if isinstance(event, TrialEnded):
                best = self.record.best
                self._ends.append(SearchPoint(event.time_s, best if best is not None and best.miou is not None else None))


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """A trial has ended; ``best`` is the first of the leaderboard by then."""

    time_s: float
    best: TrialRecord | None


class SearchRuns:
    """The runs of one search as the tracker has them: that of the search, and one for each trial.

    Attributes:
        link: to the cells in a dashboard.
    """

    def __init__(self, tracker: "Tracker", opened: SearchOpened) -> None:
        self._tracker, self._opened = tracker, opened
        self._id = short_digest([opened.name, dict(opened.fingerprint), opened.time_s])
        self.ended: set[int] = set()
        self._search: Run | None = None
        self._trials: dict[int, str] = {}
        self._rungs_told: dict[int, int] = {}
        ours = f"tags.`{SEARCH_TAG}` = '{self._id}'"
        self.link = tracker.keep_view(self._id, cells_view(f"{ours} and tags.stage != 'search'"))
        for run in tracker.find(ours):
            self._take_in(run)
        self._search_run = self._search.info.run_id if self._search else self._create_search()
        self._ends_told = int(self._search.data.metrics.get("trials_finished", 0)) if self._search else 0
        known: Mapping[str, str] = self._search.data.params if self._search else {}
        self._params = {key: value for key, value in flat_params(opened.settings).items() if key not in known}
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
            proposed = trial.proposed
            params = {"trial": str(number), "seed": str(proposed.seed)} | cell_params(trial.cell)
            costs = {"params": proposed.params, "madds": proposed.madds, "rung": 0}
            points.insert(0, Point(proposed.time_s, 0, costs))
        if ended:
            final = {"elapsed_s": trial.elapsed_s} | ({} if trial.miou is None else {"final_miou": trial.miou})
            points.append(Point(ended.time_s, trial.rungs[-1].iteration if trial.rungs else 0, final))
            tags = {"status": ended.status, "reason": ended.reason}
        self._tracker.log(run_id, params, points, tags)
        self._rungs_told[number] = len(trial.rungs)
        if ended:
            has_score = ended.status in (Status.COMPLETED, Status.STOPPED)
            self._tracker.end(run_id, "FINISHED" if has_score else "FAILED", ended.time_s)
            self.ended.add(number)

    def tell_search(self, record: SearchRecord, ends: Sequence[SearchPoint]) -> None:
        """Write what is new of the search itself."""
        points = []
        for finished, end in enumerate(ends[self._ends_told :], start=self._ends_told + 1):
            best_miou = end.best.miou if end.best else None
            values = {} if best_miou is None else {"best_miou": best_miou}
            points.append(Point(end.time_s, finished, values | {"trials_finished": finished}))
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

    def describe(self, record: SearchRecord) -> None:
        """A table that the dashboard shows on the run's page."""
        best = nlargest(DESCRIBED, (trial for trial in record.finished if trial.miou is not None), key=attrgetter("merit"))
        rows = [
            f"| {rank} | {percent(trial.miou)} | {len(trial.rungs)} | {quantity(trial.proposed.params)} | "
            f"{quantity(trial.proposed.madds)} | {_trial_name(trial)} | {trial.cell} |"
            for rank, trial in enumerate(best, start=1)
        ]
        head = "| rank | mIoU, % | rung | params | multiply-adds | run | cell |\n|---|---|---|---|---|---|---|"
        self._tracker.log(self._search_run, tags={"mlflow.note.content": "\n".join([head, *rows])})

    def attach(self, files: Sequence[Path]) -> None:
        for file in files:
            self._tracker.client.log_artifact(self._search_run, str(file))

    def _take_in(self, run: "Run") -> None:
        tag = run.data.tags.get(TRIAL_TAG)
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
        fingerprint = dict(self._opened.fingerprint)
        tags = {SEARCH_TAG: self._id, "stage": "search", "fingerprint": short_digest(fingerprint)}
        tags |= {code: str(fingerprint[code]) for code in CODE_VERSIONS if code in fingerprint}
        return self._tracker.create(self._opened.name, self._opened.time_s, tags)

    def _create_trial(self, trial: TrialRecord) -> str:
        number = trial.proposed.trial
        stage = self._opened.settings.get("stage", "proxy") if trial.is_comparable else "history"
        tags = {SEARCH_TAG: self._id, TRIAL_TAG: str(number), "stage": stage, "status": "running"} | cell_tag(trial.cell)
        tags |= {"mlflow.parentRunId": self._search_run} | ({"inherited_from": trial.source} if trial.source else {})
        run_id = self._tracker.create(_trial_name(trial), trial.proposed.time_s, tags)
        self._trials[number] = run_id
        return run_id


def _rung_point(rung: RungReached) -> Point:
    return Point(rung.time_s, rung.iteration, {"miou": rung.miou, "loss": rung.loss, "rung": rung.rung})


def _trial_name(trial: TrialRecord) -> str:
    """Sorts by trial number, e.g. ``#0012 5f3a9c01``."""
    return f"#{trial.proposed.trial:04d} {trial.cell.digest[:8]}"


def short_digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
