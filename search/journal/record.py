"""What a journal's events add up to: the trials of a search, as they stand."""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from models.spec import CellSpec
from search.deciding.outcomes import Evaluation, Finished, Status
from search.journal.events import (
    CellProposed,
    DeviceLeftOut,
    Event,
    RungReached,
    SearchClosed,
    SearchOpened,
    TrialEnded,
    TrialInherited,
    TrialsReopened,
)
from search.journal.recorded import Recorded


@dataclass(slots=True)
class TrialRecord:
    """One trial: its cell, the rungs it reached, and its end if it has one.

    Attributes:
        source: the search that it was inherited from, or "" for one of this search's own.
        is_comparable: whether its scores were got as this search gets them, and its cost is within the budget.
        comes_first: whether this search scores its cell before any that it proposes itself.
        trains_through: whether a person asked that no scheduler stops it before its full budget.
        rungs_before: how many it had reached when it was last opened again: it trains anew, and so does its clock begin.
        proposed_at, ended_at: the number of the event; clocks may go back between two of them.
    """

    proposed: CellProposed
    rungs: list[RungReached] = field(default_factory=list)
    ended: TrialEnded | None = None
    source: str = ""
    is_comparable: bool = True
    comes_first: bool = False
    trains_through: bool = False
    rungs_before: int = 0
    proposed_at: int = 0
    ended_at: int = 0

    @property
    def number(self) -> int:
        return self.proposed.trial

    @property
    def cell(self) -> CellSpec:
        return self.proposed.cell

    @property
    def params(self) -> int:
        return self.proposed.params

    @property
    def madds(self) -> int:
        return self.proposed.madds

    @property
    def latency_ms(self) -> float | None:
        return self.proposed.latency_ms

    @property
    def miou(self) -> float | None:
        """At the last rung; None before the first one and where the trial has no score."""
        has_score = self.rungs and (self.ended is None or self.ended.status.has_score)
        return self.rungs[-1].miou if has_score else None

    @property
    def score(self) -> float:
        """``miou``, of one that is known to have it."""
        assert self.miou is not None
        return self.miou

    @property
    def status(self) -> Status | Literal["running"]:
        return self.ended.status if self.ended else "running"

    @property
    def elapsed_s(self) -> float:
        """Seconds of training and validation so far; of one that was opened again, since then."""
        if self.ended:
            return self.ended.elapsed_s
        return self.rungs[-1].elapsed_s if len(self.rungs) > self.rungs_before else 0.0

    def evaluation(self) -> Evaluation:
        """The finished trial as algorithms see it."""
        assert self.ended is not None
        mious = tuple(rung.miou for rung in self.rungs) if self.miou is not None else ()
        return Evaluation(
            self.number,
            self.cell,
            self.ended.status,
            mious,
            params=self.params,
            madds=self.madds,
            is_comparable=self.is_comparable,
            latency_ms=self.latency_ms,
        )


class SearchRecord:
    """The state of a search: all its events so far, applied in order. A display may read it from another thread.

    Attributes:
        settings: as the search was last opened with: the number of trials may change.
        trials: by number, inherited ones included.
        accepted: digests of code that changed since it began, where a person said that results did not: the first and the
            last, by name.
        left_out: GPUs that get no further trials since the search was last opened.
        ends: how many of the search's own trials ended in which way; one that is tried again has not ended.
        repeats: trials of cells that were scored before. They tell how sure scores are, and are counted and ranked nowhere.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.opened: SearchOpened | None = None
        self.settings: Mapping[str, Any] = {}
        self.accepted: dict[str, tuple[str, str]] = {}
        self.closed: SearchClosed | None = None
        self.trials: dict[int, TrialRecord] = {}
        self._ranked = Finished()
        self.ends: Counter[Status] = Counter()
        self.left_out: list[DeviceLeftOut] = []
        self.num_inherited = 0
        self.repeats: dict[int, TrialRecord] = {}
        self._num_events = 0
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        self._num_events += 1
        match event:
            case SearchOpened():
                self.opened, self.closed, self.settings = self.opened or event, None, event.settings
                self.accepted |= {
                    code: (self.accepted.get(code, change)[0], change[1]) for code, change in event.accepted.items()
                }
                self.left_out = []
            case TrialInherited():
                self.trials[event.trial] = _inherited(event, self._num_events)
                self.num_inherited += 1
                self._rank(self.trials[event.trial])
            case CellProposed():
                self.trials[event.trial] = TrialRecord(event, proposed_at=self._num_events)
                if event.repeats is not None:
                    self.repeats[event.trial] = self.trials[event.trial]
            case RungReached():
                self.trials[event.trial].rungs.append(event)
            case TrialEnded():
                self.trials[event.trial].ended, self.trials[event.trial].ended_at = event, self._num_events
                if event.trial not in self.repeats:
                    self.ends[event.status] += 1
                    self._rank(self.trials[event.trial])
            case TrialsReopened():
                self._reopen(event)
            case DeviceLeftOut():
                self.left_out.append(event)
            case SearchClosed():
                self.closed = event

    @property
    def num_proposed(self) -> int:
        """Trials of the search's own; inherited ones and repeats are not counted."""
        return len(self.trials) - self.num_inherited - len(self.repeats)

    @property
    def num_ended(self) -> int:
        """Those of them that have ended."""
        return self.ends.total()

    @property
    def finished(self) -> list[TrialRecord]:
        """Every trial that has ended, inherited ones included, repeats not."""
        return [trial for trial in tuple(self.trials.values()) if trial.ended and trial.proposed.repeats is None]

    @property
    def running(self) -> list[TrialRecord]:
        """Proposed and not ended; after a kill, those that start again."""
        return [trial for trial in tuple(self.trials.values()) if not trial.ended]

    @property
    def failed(self) -> list[int]:
        """The numbers of those that failed: they may be tried again."""
        return [trial.number for trial in self.finished if trial.status == Status.FAILED]

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What must be as it was for the search to resume."""
        assert self.opened is not None
        return {**self.opened.fingerprint, **{code: now for code, (_, now) in self.accepted.items()}}

    @property
    def is_by_objective(self) -> bool:
        """Whether an objective of the user's gave the scores, and not the proxy task."""
        return self.opened is not None and Recorded(self.opened).is_by_objective

    @property
    def scored_on(self) -> str:
        """What gave the scores, as the end of a sentence."""
        return "by the objective" if self.is_by_objective else "on the proxy task"

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of the fingerprint that it began with; a search with other settings has others."""
        assert self.opened is not None
        text = json.dumps(self.opened.fingerprint, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def checkpoint_name(self, trial: int) -> str:
        """The name of the file that keeps a trial's state. It holds all that decides the state: cell, seed and fingerprint."""
        proposed = self.trials[trial].proposed
        return f"{proposed.cell.digest}-{proposed.seed:08x}-{self.digest}.safetensors"

    @property
    def best(self) -> TrialRecord | None:
        """The leaderboard's first, if any trial has a score."""
        best = self._ranked.best(1)
        return self.trials[best[0].trial] if best else None

    def ranked(self) -> Sequence[TrialRecord]:
        """Finished trials, best first (``search.deciding.ranking``); those without a score come last.

        Inherited trials are there where their scores are comparable.
        """
        return [self.trials[one.trial] for one in self._ranked.ranked()]

    def scored(self) -> Sequence[TrialRecord]:
        """Those of the leaderboard that have a score: completed, or stopped on the way."""
        return [trial for trial in self.ranked() if trial.miou is not None]

    def completed(self) -> Sequence[TrialRecord]:
        """Those of the leaderboard that were scored after the full budget: these alone compare with each other."""
        return [trial for trial in self.scored() if trial.status == Status.COMPLETED]

    def leaderboard(self) -> Sequence[TrialRecord]:
        """The former name of ``ranked``: a leaderboard is the table, ``dpc.leaderboard``."""
        warnings.warn("SearchRecord.leaderboard() is called ranked() now.", DeprecationWarning, stacklevel=2)
        return self.ranked()

    def in_order_of_finishing(self) -> Sequence[TrialRecord]:
        """Those of the leaderboard, the first to finish first."""
        return sorted((trial for trial in self.finished if trial.is_comparable), key=lambda trial: trial.ended_at)

    def _reopen(self, event: TrialsReopened) -> None:
        for trial in (self.trials[number] for number in event.trials):
            assert trial.ended is not None
            self.ends[trial.ended.status] -= 1
            trial.ended, trial.rungs_before = None, len(trial.rungs)
            trial.trains_through = trial.trains_through or event.to_full_budget
        self._ranked, self.closed = Finished(), None
        for trial in self.finished:
            self._rank(trial)

    def _rank(self, trial: TrialRecord) -> None:
        if trial.is_comparable:
            self._ranked.add(trial.evaluation())


def _inherited(event: TrialInherited, place: int) -> TrialRecord:
    number, time_s = event.trial, event.time_s
    rungs = [
        RungReached(
            number,
            rung=rung,
            iteration=iteration,
            miou=miou,
            loss=loss,
            elapsed_s=elapsed_s,
            goes_on=rung < len(event.rungs),
            reason="inherited",
            time_s=time_s,
        )
        for rung, (iteration, miou, loss, elapsed_s) in enumerate(event.rungs, start=1)
    ]
    return TrialRecord(
        CellProposed(
            number,
            cell=event.cell,
            seed=event.seed,
            params=event.params,
            madds=event.madds,
            time_s=time_s,
            latency_ms=event.latency_ms,
        ),
        rungs,
        TrialEnded(number, event.status, event.reason, event.elapsed_s, time_s),
        event.source,
        event.is_comparable,
        event.comes_first,
        proposed_at=place,
        ended_at=place,
    )
