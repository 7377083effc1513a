"""What a search promises, checked after every step of a life that a person could see, and at its end."""

import errno
from collections import Counter
from functools import lru_cache
from typing import Any

from models.spec import PUBLISHED_OPERATORS, CellSpec
from search.deciding.outcomes import Status
from search.journal.events import Event, SearchClosed, SearchOpened, TrialEnded, TrialsReopened
from search.journal.lines import _decode, is_whole
from search.journal.record import SearchRecord, TrialRecord
from search.journal.replay import replay
from search.journal.study import Study
from search.tracking.params import percentage
from tests.lives.disk import Disks, SimPath
from tests.lives.draw import Drawn
from tests.lives.store import Bucket, objects_below
from tests.lives.tracker import Metric, MlflowServer, Run
from tests.lives.training import score_of
from tests.lives.undisturbed import decided, undisturbed
from tests.lives.world import Process, World

SETTLED_S, TROUBLED_S = 20.0, 100.0
"""After so long a driver that lost its search has heard of it; and after the store was in trouble."""
LOSE_CHECKPOINTS = {
    "the power is cut",
    "the disk is full",
    "a write fails",
    "a sync fails",
    "a node goes",
    "a worker is taken for dead",
}
"""Faults after which a trial may have to train a rung again."""
LOSE_STORED_CHECKPOINTS = LOSE_CHECKPOINTS | {
    "a worker dies",
    "a worker hangs",
    "the driver is killed",
    "the driver is killed while it writes",
    "the driver is interrupted",
    "the driver stalls",
    "a training is out of memory",
    "a device fails",
    "Ray ends a worker for its memory",
    "the store is slow",
    "the store is down",
    "the store's answer is lost",
}
"""The same, where a checkpoint is on its node's disk until it has been uploaded."""


class Promises:
    """What was told so far, by whom, and whether it holds.

    Attributes:
        last_machine: of the driver that has the search, or had it last.
        is_complete: whether the last driver said so.
        is_checked: whether the end of the life was looked at, and all was well.
    """

    def __init__(self, world: World, disks: Disks, bucket: Bucket, mlflow: MlflowServer, drawn: Drawn) -> None:
        self.world, self.disks, self.bucket, self.mlflow, self.drawn = world, disks, bucket, mlflow, drawn
        self.last_machine, self.is_complete, self.is_checked = "alpha", False, False
        self._owner: Process | None = None
        self._owned_since_s = 0.0
        self._record = SearchRecord()
        self._told: list[Event] = []
        self._is_kept = False
        self._was_taken_over = self._has_lost = False
        self._key = ""
        self._ended: set[Process] = set()

    def begin(self, record: SearchRecord, journal: SimPath) -> None:
        """A driver has the search and goes on with it: it knows all that was told."""
        process = self.world.process
        if self.drawn.has_store and self.bucket.writers["life/driver.json"] != process.name:
            self._was_taken_over = True
            return  # it has lost the search already, and will hear of it
        key = f"{process.disk}:{journal}"
        found = events_in(self.disks.files[key].content)
        if not any(isinstance(event, SearchOpened) for event in self._told):
            self._told = []  # a fork that was not opened yet
        common = len(self._told) if key == self._key or self._is_kept else min(len(found), len(self._told))
        if not self._is_kept and key != self._key and not any(isinstance(event, SearchOpened) for event in found):
            common = 0  # the store has nothing of it, as was said: a fork begins anew
        if found[:common] != self._told[:common]:
            self.world.fail(f"of {len(self._told)} events that were told {common} should be there, of {len(found)}")
        is_beside = self._owner is not None and self._owner.is_alive and self._owner not in self._ended
        if self._owner is not None and is_beside and (key == self._key or self._is_sound(self._owner)):
            self.world.fail(f"{process.name} begins beside {self._owner.name}")
        self._was_taken_over |= bool(self._key) and key != self._key
        self._has_lost |= len(found) < len(self._told)
        self._owner, self._owned_since_s, self._key, self.last_machine = process, self.world.now_s, key, process.machine
        self._record, self._told = record, found
        self._is_kept = self.is_complete = False

    def told(self, event: Event) -> None:
        """A person sees an event."""
        if self.world.process is not self._owner:
            self._check_gives_up()
            return
        self._told.append(event)
        inode = self.disks.files.get(self._key)
        if inode is None or not self.disks.keeps(self._key):
            self.world.fail(f"{event} was told, and the journal would not survive")
        elif inode.synced.count(b"\n") < len(self._told) or event not in events_in(_end_of(inode.synced)):
            self.world.fail(f"{event} was told before it was safe")
        if isinstance(event, TrialEnded) and self.world.rng.random() < 0.3:
            self.check_leaderboard(self._record)

    def check_leaderboard(self, record: SearchRecord) -> None:
        """A leaderboard is that of the first so many events of the journal."""
        if self.world.process is not self._owner:
            return
        told = SearchRecord(self._told)
        if record is self._record and board_of(record) != board_of(told):
            self.world.fail(f"the leaderboard {board_of(record)} is not {board_of(told)}, which was told")

    def begun(self, driver: Process, cell: CellSpec, done: int) -> None:
        """A training begins, or goes on after so many rungs."""
        if driver is not self._owner or not driver.is_alive:
            return
        trial = next(trial for trial in reversed(self._record.trials.values()) if trial.cell == cell)
        if trial.ended:
            self.world.fail(f"trial {trial.number} has ended, and is trained again")
        if any(isinstance(event, TrialsReopened) and trial.number in event.trials for event in self._told):
            return  # its checkpoint went when it failed
        losses = LOSE_STORED_CHECKPOINTS if self.drawn.has_store else LOSE_CHECKPOINTS
        if done < len(trial.rungs) and not losses & {fault.kind for fault in self.world.met}:
            self.world.fail(f"trial {trial.number} has {len(trial.rungs)} scores, and {done} in its checkpoint")

    def check_ended(self, study: Study, code: int, said: list[str]) -> None:
        """A driver ended by itself and says how it went."""
        self._ended.add(self.world.process)
        if self.world.process is not self._owner:
            self._check_gives_up()
            return
        met = {fault.kind for fault in self.world.met}
        has_score = any(trial.miou is not None for trial in study.record.finished)
        if code == 0 and not (study.is_complete and has_score and isinstance(self._told[-1], SearchClosed)):
            self.world.fail("exit code 0 of a search that is not complete")
        if study.is_complete and (code == 0) != has_score:
            self.world.fail(f"exit code {code} of a search that is complete, with a score: {has_score}")
        if not study.is_complete and not study.trouble and "the driver is interrupted" not in met:
            self.world.fail("it ended and is not complete")
        self._is_kept = not any(" lacks " in line for line in said)
        self.is_complete = study.is_complete

    def check_refused(self, error: Exception, is_last: bool) -> None:
        """A driver ended with an error."""
        self._ended.add(self.world.process)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            self.world.fail(f"it did not wait for room: {error}")
        if is_last:
            self.world.fail(f"where nothing goes wrong: {error}")
        if "have diverged" in str(error) and not self._was_taken_over:
            self.world.fail(f"nobody took it over: {error}")
        if any(word in str(error) for word in ("damaged", "missing", "line ")) and "lists late" not in str(self.world.met):
            self.world.fail(str(error))

    def check_end(self, folder: SimPath) -> None:
        """The search is complete, and whoever looks at it sees the same."""
        if not self.is_complete:
            self.world.fail("it is not complete, and nothing goes wrong any more")
        events = events_in(self.disks.files[self._key].content)
        record = SearchRecord(events)
        if events != self._told:
            self.world.fail("the journal is not what was told")
        if differences := replay(events, self.drawn.plan).differences:
            self.world.fail(f"another run would decide otherwise: {differences}")
        if record.num_proposed > self.drawn.plan.trials:
            self.world.fail(f"{record.num_proposed} trials of {self.drawn.plan.trials}")
        for trial in record.trials.values():
            self._check_scores(trial)
        self._check_mlflow(record, events)
        self._check_undisturbed(record)
        self._check_nothing_left(folder)
        self.is_checked = True

    def _check_gives_up(self) -> None:
        """Of two drivers the one that lost the search goes on only until it hears of it."""
        process, self._has_lost = self.world.process, True
        if self._is_sound(process) and self.world.now_s - self._owned_since_s > SETTLED_S:
            self.world.fail(f"{process.name} goes on beside {self._owner and self._owner.name}")

    def _is_sound(self, driver: Process) -> bool:
        """Whether nothing of late has kept a driver from the store."""
        now_s = self.world.now_s
        return now_s - driver.stalls_until_s > SETTLED_S and now_s - self.bucket.trouble_at_s > TROUBLED_S

    def _check_scores(self, trial: TrialRecord) -> None:
        if trial.source:
            return
        honest = [score_of(trial.cell, trial.proposed.seed, rung.rung).miou for rung in trial.rungs]
        if [rung.miou for rung in trial.rungs] != honest:
            self.world.fail(f"trial {trial.number} has other scores than its cell: {trial.rungs}")

    def _check_undisturbed(self, record: SearchRecord) -> None:
        """A deterministic search decides what it would have decided had nothing happened, if all its cells have scores."""
        has_all = record.num_inherited == 0 and record.ends.keys() <= {Status.COMPLETED, Status.STOPPED}
        if self.drawn.plan.window is not None and has_all:
            assert record.opened is not None
            calm = SearchRecord(undisturbed(self.drawn.plan, record.opened).events)
            if decided(record) != decided(calm):
                self.world.fail(f"it decided {decided(record)}, and undisturbed {decided(calm)}")

    def _check_nothing_left(self, folder: SimPath) -> None:
        left = list(folder.glob("checkpoints/*.safetensors*"))
        stored = objects_below(self.bucket, "life")
        if left and not self.drawn.has_store:
            self.world.fail(f"checkpoints are left: {left}")
        if self.drawn.has_store and self._is_kept:
            if kept := [name for name in stored if name.startswith("checkpoints/")]:
                self.world.fail(f"the store keeps {kept}")
            segments = {int(name[8:20]): content for name, content in stored.items() if name.startswith("journal/")}
            whole = b""
            for start, content in sorted(segments.items()):
                whole = whole[:start] + content
            if whole != self.disks.files[self._key].content:
                self.world.fail("the store's journal is another one")

    def _check_mlflow(self, record: SearchRecord, events: list[Event]) -> None:
        runs = [run for run in self.mlflow.shown if "dpc.trial" in run.tags]
        by_trial = {int(run.tags["dpc.trial"]): run for run in runs}
        if len(runs) != len(record.trials) or by_trial.keys() != record.trials.keys():
            self.world.fail(f"MLflow shows the trials {sorted(int(run.tags['dpc.trial']) for run in runs)}")
        tried_again = {trial for event in events if isinstance(event, TrialsReopened) for trial in event.trials}
        for number, run in by_trial.items():
            self._check_run(run, record.trials[number], number in tried_again)
        ranks = {number: run.data.metrics.get("rank") for number, run in by_trial.items() if "rank" in run.data.metrics}
        board = {trial.number: rank for rank, trial in enumerate(record.ranked(), start=1)}
        if ranks != board and not self._has_lost:
            self.world.fail(f"MLflow shows the ranks {ranks}, and the leaderboard is {board}")
        searches = [run for run in self.mlflow.shown if "dpc.trial" not in run.tags]
        ends = sum(isinstance(event, TrialEnded) for event in events)
        told = Counter(metric.key for run in searches for metric in run.metrics)
        if len(searches) != 1 or searches[0].status != "FINISHED" or (told["trials_finished"] != ends and not self._has_lost):
            self.world.fail(f"MLflow shows {searches}, and {ends} trials ended")
        if any(run.tags["mlflow.parentRunId"] != searches[0].run_id for run in runs):
            self.world.fail("MLflow shows cells below another search")

    def _check_run(self, run: Run, trial: TrialRecord, is_tried_again: bool) -> None:
        proposed, ended = trial.proposed, trial.ended
        assert ended is not None
        points = [(proposed.time_s, 0, {"params": proposed.params, "madds": proposed.madds, "rung": 0})]
        for rung in trial.rungs:
            scores = {"miou_percent": percentage(rung.miou), "loss": rung.loss, "rung": rung.rung}
            points.append((rung.time_s, rung.iteration, scores))
        score = {} if trial.miou is None else {"final_miou_percent": percentage(trial.miou)}
        final = {"elapsed_s": trial.elapsed_s} | score
        points.append((ended.time_s, trial.rungs[-1].iteration if trial.rungs else 0, final))
        metrics = {
            Metric(key, float(value), round(1000 * time_s), step)
            for time_s, step, values in points
            for key, value in values.items()
        }
        status = "FINISHED" if ended.status in (Status.COMPLETED, Status.STOPPED) else "FAILED"
        told = {metric for metric in run.metrics if metric.key != "rank"}
        is_equal = metrics <= told if is_tried_again else metrics == told
        if self._has_lost:  # what was lost with a disk was shown
            is_equal = True
        shown: tuple[Any, ...] = run.status, run.tags["status"], run.tags["reason"], run.params["digest"]
        if not is_equal or shown != (status, ended.status, ended.reason, trial.cell.digest):
            points = [*sorted(metrics - told), "and not", *sorted(told - metrics)]
            self.world.fail(f"MLflow lacks {points} and shows {shown} of trial {proposed.trial}, which is {ended}")


def board_of(record: SearchRecord) -> list[tuple[int, float | None]]:
    """A leaderboard as a person reads it."""
    return [(trial.number, trial.miou) for trial in record.ranked()]


def events_in(content: bytes) -> list[Event]:
    """The events of a journal's whole lines, read without a step."""
    return [_event_in(line) for line in bytes(content).splitlines(keepends=True) if is_whole(line)]


def _end_of(content: bytes, lines: int = 2) -> bytes:
    """What one call appends at most."""
    return b"".join(content[-4000:].splitlines(keepends=True)[-lines:])


@lru_cache(10_000)
def _event_in(line: bytes) -> Event:
    return _decode(line, PUBLISHED_OPERATORS)[0]
