"""The MLflow runs of one search: that of the search and, nested in it, one per cell."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from models.spec import CellSpec
from search.journal.events import RungReached, SearchOpened
from search.journal.glance import state
from search.journal.record import SearchRecord, TrialRecord
from search.tracking.client import Point, Tracker
from search.tracking.dashboard_table import cells_view
from search.tracking.params import CELL_TAG, cell_params, cell_tag, flat_params, percentage
from search.wording import percent, quantity

if TYPE_CHECKING:  # for the names of types alone
    from mlflow.entities import Run

SEARCH_TAG, TRIAL_TAG = "dpc.search", "dpc.trial"
"""Tags by which runs are found again."""
PARENT_TAG = "mlflow.parentRunId"
CODE_VERSIONS = ("scoring_code", "search_code")
"""Parts of a fingerprint that are tags of their own."""
RENEWED = ("trials",)
"""Settings that a resumed search may have changed: tags, as a parameter of MLflow's never changes."""
CLOCK_S = 1e-3
"""Of MLflow's clock."""
DESCRIBED = 10
"""Cells in the description of a search's run, whose own runs have a picture."""
RANKED_AS_IT_GOES, RANKED = 100, 500
"""Places of the leaderboard that runs carry, while a search runs (a better cell moves all below it) and at its end."""
PICTURE, PICTURE_TAG = "cell.png", "picture"


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

    def __init__(self, tracker: Tracker, opened: SearchOpened) -> None:
        self._tracker, self._opened = tracker, opened
        self._id = short_digest([opened.name, dict(opened.fingerprint), opened.time_s])
        self._ended_s: dict[int, float] = {}
        self._scored = set[int]()
        self._search: Run | None = None
        self._trials: dict[int, str] = {}
        self._rungs_told: dict[int, int] = {}
        self._parents: dict[int, str] = {}
        self._ranks: dict[int, int] = {}
        self._drawn = set[int]()
        self._cells: dict[int, str] = {}
        """Of runs that were found, and not told of since."""
        ours = f"tags.`{SEARCH_TAG}` = '{self._id}'"
        self.link = tracker.keep_view(self._id, cells_view(f"{ours} and tags.stage != 'search'"))
        for run in tracker.find(ours):
            self._take_in(run)
        self._search_run = self._search.info.run_id if self._search else self._create_search()
        for trial, run_id in self._trials.items():
            if self._parents[trial] != self._search_run:  # the tracker had lost that one
                tracker.log(run_id, tags=self._below)
        told: Mapping[str, float] = self._search.data.metrics if self._search else {}
        self._ends_told = 0 if _is_in_other_unit(told) else int(told.get("trials_finished", 0))
        known: Mapping[str, str] = self._search.data.params if self._search else {}
        fixed = {key: value for key, value in opened.settings.items() if key not in RENEWED}
        self._params = {key: value for key, value in flat_params(fixed).items() if key not in known}
        self._status_told = str(self._search.info.status) if self._search else "RUNNING"

    def tell_trial(self, trial: TrialRecord) -> None:
        """Write what is new of ``trial``."""
        number, ended = trial.number, trial.ended
        is_other_cell = self._cells.pop(number, cell_tag(trial.cell)[CELL_TAG]) != cell_tag(trial.cell)[CELL_TAG]
        if is_other_cell or (number in self._scored and trial.ended and trial.miou is None):
            self._forget(number)
        run_id = self._trials.get(number) or self._create_trial(trial)
        told = self._rungs_told.get(number, -1)
        points = [_rung_point(rung) for rung in trial.rungs[max(told, 0) :]]
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        if number in self._ended_s and not self.show_end_of(trial):  # it was tried again
            del self._ended_s[number]
            self._tracker.client.update_run(run_id, status="RUNNING")
            tags = {"status": "running", "reason": ""}
        if told < 0:
            proposed = trial.proposed
            params = {"trial": str(number), "seed": str(proposed.seed)} | cell_params(trial.cell)
            costs = {"params": trial.params, "madds": trial.madds, "rung": 0}
            points.insert(0, Point(proposed.time_s, 0, costs))
        if ended:
            score = {} if trial.miou is None else {"final_miou_percent": percentage(trial.miou)}
            final = {"elapsed_s": trial.elapsed_s} | score
            points.append(Point(ended.time_s, trial.rungs[-1].iteration if trial.rungs else 0, final))
            tags = {"status": ended.status, "reason": ended.reason}
        self._tracker.log(run_id, params, points, tags)
        self._rungs_told[number] = len(trial.rungs)
        if ended:
            self._tracker.end(run_id, "FINISHED" if ended.status.has_score else "FAILED", ended.time_s)
            self._ended_s[number] = ended.time_s
            if trial.miou is not None:
                self._scored.add(number)

    def interrupt(self, trial: TrialRecord, time_s: float) -> None:
        """Write that nobody works on a trial that has not ended; when it goes on, ``tell_trial`` says so."""
        run_id = self._trials[trial.number]
        self._tracker.log(run_id, tags={"status": "interrupted", "reason": ""})
        self._tracker.end(run_id, "KILLED", time_s)
        self._ended_s[trial.number] = time_s

    def show_end_of(self, trial: TrialRecord) -> bool:
        """Whether the tracker has the trial's end: the latest, where it was tried again."""
        ended = trial.ended
        return ended is not None and abs(self._ended_s.get(trial.number, -1.0) - ended.time_s) < CLOCK_S

    def moved(self, record: SearchRecord) -> Sequence[tuple[int, int]]:
        """Trials whose run shows another rank than theirs, and that rank. Below the first places none is shown."""
        ranks = {trial.number: rank for rank, trial in enumerate(record.ranked(), start=1)}
        shown = RANKED if record.closed else RANKED_AS_IT_GOES
        return [
            (trial, rank)
            for trial, rank in ranks.items()
            if rank != self._ranks.get(trial) and min(rank, self._ranks.get(trial, rank)) <= shown
        ]

    def tell_rank(self, trial: int, rank: int, lines: int, time_s: float) -> None:
        """Write a trial's place in the leaderboard after so many lines of the journal.

        MLflow shows the point of the highest step, and clocks may go back: lines do not.
        """
        self._tracker.log(self._trials[trial], points=[Point(time_s, lines, {"rank": rank})])
        self._ranks[trial] = rank

    def tell_search(self, record: SearchRecord, ends: Sequence[SearchPoint], stopped_s: float | None = None) -> None:
        """Write what is new of the search itself.

        Args:
            stopped_s: when one that is not closed stopped; None while a process works on it.
        """
        points = []
        for finished, end in enumerate(ends[self._ends_told :], start=self._ends_told + 1):
            values = {"best_miou_percent": percentage(end.best.score)} if end.best else {}
            points.append(Point(end.time_s, finished, values | {"trials_finished": finished}))
        ended_s = record.closed.time_s if record.closed else stopped_s
        tags = {"status": state(is_held=ended_s is None, is_complete=record.closed is not None)}
        tags |= {key: str(record.settings[key]) for key in RENEWED if key in record.settings}
        tags["reason"] = record.closed.reason if record.closed else ""
        if ends and (best := ends[-1].best):
            tags["best"] = f"{_trial_name(best)}: {best.cell}"
        self._tracker.log(self._search_run, self._params, points, tags)
        self._params, self._ends_told = {}, len(ends)
        status = "FINISHED" if record.closed else "RUNNING" if ended_s is None else "KILLED"
        if status != self._status_told and ended_s is not None:
            self._tracker.end(self._search_run, status, ended_s)
        elif status != self._status_told:
            self._tracker.client.update_run(self._search_run, status=status)
        self._status_told = status

    def describe(self, record: SearchRecord) -> None:
        """A table that the dashboard shows on the run's page."""
        rows = [
            f"| {rank} | {percent(trial.miou)} | {len(trial.rungs)} | {quantity(trial.params)} | "
            f"{quantity(trial.madds)} | {_trial_name(trial)} | {trial.cell} |"
            for rank, trial in enumerate(record.scored()[:DESCRIBED], start=1)
        ]
        head = "| rank | mIoU, % | rung | params | multiply-adds | run | cell |\n|---|---|---|---|---|---|---|"
        self._tracker.log(self._search_run, tags={"mlflow.note.content": "\n".join([head, *rows])})

    def draw(self, record: SearchRecord, draw: Callable[[CellSpec, Path], None]) -> None:
        """Put a picture of its cell into the run of each of the best that has none yet."""
        for trial in record.scored()[:DESCRIBED]:
            number = trial.number
            if number not in self._drawn:
                with TemporaryDirectory() as folder:
                    draw(trial.cell, Path(folder) / PICTURE)
                    self._tracker.client.log_artifact(self._trials[number], f"{folder}/{PICTURE}")
                self._tracker.log(self._trials[number], tags={PICTURE_TAG: PICTURE})
                self._drawn.add(number)

    def attach(self, files: Sequence[Path]) -> None:
        for file in files:
            self._tracker.client.log_artifact(self._search_run, str(file))

    @property
    def _below(self) -> dict[str, str]:
        """The tag that nests a cell's run in the search's."""
        return {PARENT_TAG: self._search_run}

    def _take_in(self, run: "Run") -> None:
        tag = run.data.tags.get(TRIAL_TAG)
        if tag is None and self._search is None:
            self._search = run
        elif tag is not None and int(tag) not in self._trials:
            trial = int(tag)
            self._trials[trial] = run.info.run_id
            self._parents[trial] = run.data.tags.get(PARENT_TAG, "")
            self._cells[trial] = run.data.tags[CELL_TAG]
            if "rank" in run.data.metrics:
                self._ranks[trial] = int(run.data.metrics["rank"])
            if PICTURE_TAG in run.data.tags:
                self._drawn.add(trial)
            is_known = bool(run.data.params) and not _is_in_other_unit(run.data.metrics)
            self._rungs_told[trial] = int(run.data.metrics.get("rung", -1)) if is_known else -1
            if is_known and run.info.status in ("FINISHED", "FAILED", "KILLED"):
                self._ended_s[trial] = run.info.end_time / 1000
            if "final_miou_percent" in run.data.metrics:
                self._scored.add(trial)
        else:  # the answer to its creation was lost, and it was created again
            self._tracker.client.delete_run(run.info.run_id)

    def _forget(self, trial: int) -> None:
        """Its run is of another cell, lost with a driver's disk, or has the score of an end that no longer counts."""
        self._tracker.client.delete_run(self._trials.pop(trial))
        del self._rungs_told[trial]
        self._ended_s.pop(trial, None)
        self._scored.discard(trial)
        self._ranks.pop(trial, None)
        self._drawn.discard(trial)

    def _create_search(self) -> str:
        fingerprint = dict(self._opened.fingerprint)
        tags = {SEARCH_TAG: self._id, "stage": "search", "fingerprint": short_digest(fingerprint)}
        tags |= {code: str(fingerprint[code]) for code in CODE_VERSIONS if code in fingerprint}
        return self._tracker.create(self._opened.name, self._opened.time_s, tags)

    def _create_trial(self, trial: TrialRecord) -> str:
        number = trial.number
        stage = self._opened.settings.get("stage", "proxy") if trial.is_comparable else "history"
        if trial.proposed.repeats is not None:
            stage = "repeat"
        tags = {SEARCH_TAG: self._id, TRIAL_TAG: str(number), "stage": stage, "status": "running"} | cell_tag(trial.cell)
        tags |= self._below | ({"inherited_from": trial.source} if trial.source else {})
        run_id = self._tracker.create(_trial_name(trial), trial.proposed.time_s, tags)
        self._trials[number] = run_id
        return run_id


def _rung_point(rung: RungReached) -> Point:
    loss = {} if rung.loss is None else {"loss": rung.loss}
    return Point(rung.time_s, rung.iteration, {"miou_percent": percentage(rung.miou), **loss, "rung": rung.rung})


def _is_in_other_unit(metrics: Mapping[str, float]) -> bool:
    """Of a run that an earlier version told of, which wrote mIoU from 0 to 1: it is told again."""
    return any(name in metrics and f"{name}_percent" not in metrics for name in ("miou", "best_miou"))


def _trial_name(trial: TrialRecord) -> str:
    """Sorts by trial number, e.g. ``#0012 5f3a9c01``."""
    return f"#{trial.number:04d} {trial.cell.digest[:8]}"


def short_digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
