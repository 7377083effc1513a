"""What a journal's events add up to: the trials of a search, as they stand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from models.spec import CellSpec
from search.evaluation import Evaluation, Status
from search.journal import CellProposed, Event, RungReached, SearchClosed, SearchOpened, TrialEnded


@dataclass(slots=True)
class TrialRecord:
    """One trial: its cell, the rungs it reached, and its end if it has one."""

    proposed: CellProposed
    rungs: list[RungReached] = field(default_factory=list)
    ended: TrialEnded | None = None

    @property
    def cell(self) -> CellSpec:
        return self.proposed.cell

    @property
    def miou(self) -> float | None:
        """At the last rung; None before the first one and where the trial has no score."""
        has_score = self.rungs and (self.ended is None or self.ended.status in (Status.COMPLETED, Status.STOPPED))
        return self.rungs[-1].miou if has_score else None

    @property
    def status(self) -> str:
        return self.ended.status if self.ended else "running"

    @property
    def elapsed_s(self) -> float:
        """Seconds of training and validation so far."""
        if self.ended:
            return self.ended.elapsed_s
        return self.rungs[-1].elapsed_s if self.rungs else 0.0

    @property
    def merit(self) -> tuple[float, ...]:
        """Sorts ended trials from worst to best: by rung reached, mIoU, and the earlier proposal."""
        return (*self.evaluation().merit, -self.proposed.trial)

    def evaluation(self) -> Evaluation:
        """The finished trial as algorithms see it."""
        assert self.ended is not None
        return Evaluation(self.proposed.trial, self.cell, self.ended.status, len(self.rungs), self.miou)


class SearchRecord:
    """The state of a search: all its events so far, applied in order. A display may read it from another thread."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.opened: SearchOpened | None = None
        self.closed: SearchClosed | None = None
        self.trials: dict[int, TrialRecord] = {}
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        match event:
            case SearchOpened():
                self.opened, self.closed = self.opened or event, None
            case CellProposed():
                self.trials[event.trial] = TrialRecord(event)
            case RungReached():
                self.trials[event.trial].rungs.append(event)
            case TrialEnded():
                self.trials[event.trial].ended = event
            case SearchClosed():
                self.closed = event

    @property
    def finished(self) -> list[TrialRecord]:
        return [trial for trial in tuple(self.trials.values()) if trial.ended]

    @property
    def running(self) -> list[TrialRecord]:
        """Proposed and not ended; after a kill, those that start again."""
        return [trial for trial in tuple(self.trials.values()) if not trial.ended]

    def leaderboard(self) -> Sequence[TrialRecord]:
        """Finished trials, best first: by rung reached, then by mIoU; those without a score come last."""
        return sorted(self.finished, key=attrgetter("merit"), reverse=True)
