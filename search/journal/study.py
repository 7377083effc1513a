"""A search as it goes: hands out trials and journals what becomes of them. It knows the journal and nothing of Ray."""

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from data.datasets.contract import printable
from models.spec import CellSpec
from search.deciding.algorithms.base import SpaceExhaustedError, repeat_seed
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.journal.events import (
    CellProposed,
    DeviceLeftOut,
    Event,
    RungReached,
    SearchClosed,
    SearchOpened,
    TrialEnded,
    TrialsReopened,
    now_s,
)
from search.journal.record import SearchRecord
from search.journal.repeats import next_repeat
from search.journal.telling import policy_of, tell
from search.wording import counted
from training.score import RungScore


class EventLog(Protocol):
    """Where events go first. ``Journal`` is one; a simulation needs none on disk."""

    def append(self, *events: Event) -> None: ...


class RunningSearch(Protocol):
    """What a callback sees of a search: ``Study`` is one.

    Attributes:
        record: the search as it stands: ``.best``, ``.ranked()``, ``.trials``.
        stopped: why no more trials are begun, where somebody wished it; else empty.
    """

    record: SearchRecord
    stopped: str

    def stop(self, reason: str) -> None:
        """Begin no more trials this time; those running finish."""
        ...


class Callback(Protocol):
    """A function that is told what happens in a search."""

    def __call__(self, search: RunningSearch, event: Event, /) -> None:
        """Called after every event, once that is on the disk. What it raises ends the search, which may resume later."""
        ...


class Study:
    """Proposes trials and journals what becomes of them; each event is on the disk before anyone else sees it.

    Trials that the journal leaves open (their process was killed) are handed out again first, with their number, cell and
    seed. One that had its last score but not its end is ended.

    Args:
        record: of the journal's events so far; it is kept up to date.
        on_event: told each event after the record.
        give_up_after: trials that fail alike, one after the other, until no more are begun: what fails them is not their cells.
        retry_failed: whether trials that failed before are left open, too.
        resume: trials that have ended and continue to the full budget, whatever the scheduler says.
        callbacks: told each event after ``on_event``, with the study: they may ``stop`` it.

    Attributes:
        trouble: what those trials failed of; empty while all is well.
        stopped: why no more trials are begun, where somebody wished it.
    """

    def __init__(
        self,
        journal: EventLog,
        record: SearchRecord,
        plan: Plan,
        opened: SearchOpened,
        *,
        on_event: Callable[[Event], None] = lambda event: None,
        give_up_after: int | None = None,
        retry_failed: bool = False,
        callbacks: Sequence[Callback] = (),
        resume: Sequence[int] = (),
    ) -> None:
        self.trouble = ""
        self.stopped = ""
        self._callbacks = callbacks
        self._interrupted: deque[CellProposed] = deque()
        self._give_up_after = give_up_after
        self._failed_alike: list[str] = []
        self._behind_s: dict[int, float] = {}
        self.plan = plan
        self.record = record
        self._journal = journal
        self._on_event = on_event
        self._exhausted = ""
        self._policy = policy_of(plan, record)
        self._append(opened)
        if resume:
            self._append(TrialsReopened(tuple(resume), now_s(), to_full_budget=True))
        if retry_failed and (failed := self.record.failed):
            self._append(TrialsReopened(tuple(failed), now_s()))
        for trial in self.record.running:
            is_at_its_end = trial.rungs and not trial.rungs[-1].goes_on
            if is_at_its_end and not (trial.trains_through and trial.rungs[-1].iteration < plan.rungs[-1]):
                self._append(self._end_of(trial.rungs[-1]))
        self._interrupted = deque(trial.proposed for trial in self.record.running)

    @property
    def is_complete(self) -> bool:
        """Whether the journal says that nothing is left to run."""
        return self.record.closed is not None

    @property
    def has_more(self) -> bool:
        """Whether ``propose`` will give another trial, now or once running ones have ended."""
        return self._is_left and not self.trouble and not self.stopped

    @property
    def is_over(self) -> bool:
        """Whether every trial that will ever be handed out has ended; those that trouble left behind are not."""
        if self.has_more:
            return False
        record, left = self.record, {proposed.trial for proposed in self._interrupted}
        are_repeated = all(trial.ended or number in left for number, trial in record.repeats.items())
        return are_repeated and record.num_ended == record.num_proposed - len(left - record.repeats.keys())

    def propose(self) -> CellProposed | None:
        """The next trial to run; None when there is none, or while a deterministic search waits for a running one."""
        if not self.has_more:
            return None
        if self._interrupted:
            return self._interrupted.popleft()
        if not self._has_new:
            return self._repeat()
        if self._policy.is_waiting:
            return None
        try:
            cell = self._policy.next_cell()
        except SpaceExhaustedError as exhausted:
            self._exhausted = str(exhausted)
            return None
        return self._propose(cell, self.plan.seed_of(cell))

    def reached(self, trial: int, score: RungScore) -> bool:
        """A trial was scored; returns whether it continues. If not, it has ended.

        A score that is already known (told again by a resumed trial) changes nothing, but says how far the clock of an
        objective of one's own is behind, which begins anew with each process. Rungs from before the trial was opened again say
        nothing of that: it trains anew, and its seconds count from there.
        """
        known = self.record.trials[trial].rungs
        if score.rung <= len(known):
            if score.rung > self.record.trials[trial].rungs_before:
                self._behind_s[trial] = max(known[score.rung - 1].elapsed_s - score.elapsed_s, 0.0)
            return True
        iterations = [*(rung.iteration for rung in known), score.iteration]
        decision = self._policy.decide(trial, iterations, [*(rung.miou for rung in known), score.miou])
        reached = RungReached(
            trial,
            rung=score.rung,
            iteration=score.iteration,
            miou=score.miou,
            loss=score.loss,
            elapsed_s=score.elapsed_s + self._behind_s.get(trial, 0.0),
            goes_on=decision.goes_on,
            reason=decision.reason,
            time_s=now_s(),
        )
        self._failed_alike = []
        self._append(reached, *(() if decision.goes_on else (self._end_of(reached),)))
        return decision.goes_on

    def failed(self, trial: int, status: Status, reason: str) -> None:
        """A trial ended without a score. Of its reason, bytes of file names that are no UTF-8 are left out."""
        reason = printable(reason)
        self._append(TrialEnded(trial, status, reason, self.record.trials[trial].elapsed_s, now_s()))
        if status == Status.FAILED and self._give_up_after is not None:
            self._failed_alike = [*(other for other in self._failed_alike if _alike(other, reason)), reason]
            if len(self._failed_alike) >= self._give_up_after:
                self.trouble = reason

    def left_out(self, device: str, reason: str) -> None:
        """A device is broken and gets no further trials."""
        self._append(DeviceLeftOut(device, reason, now_s()))

    def stop(self, reason: str) -> None:
        """Begin no more trials this time; those running finish."""
        self.stopped = reason

    def close(self) -> None:
        """Say that the search is complete, if it is over."""
        if self.is_over and not self.is_complete and not self.trouble and not self._is_left:
            repeated = f", {len(self.record.repeats)} of them scored twice" if self.record.repeats else ""
            all_trials = counted(max(self.plan.trials, self.record.num_proposed), "trial")
            self._append(SearchClosed((self._exhausted or all_trials) + repeated, now_s()))

    @property
    def _is_left(self) -> bool:
        """Whether there are trials to hand out, if nothing stops the search."""
        return bool(self._interrupted) or self._has_new or self._has_repeats

    @property
    def _has_new(self) -> bool:
        return self.record.num_proposed < self.plan.trials and not self._exhausted

    @property
    def _has_repeats(self) -> bool:
        """Whether cells will be scored again: which ones shows once all others have ended."""
        record = self.record
        if len(record.repeats) >= self.plan.repeats:
            return False
        return record.num_ended < record.num_proposed or next_repeat(record, self.plan.seed) is not None

    def _repeat(self) -> CellProposed | None:
        """The next trial of a cell that was scored before; None while others run."""
        chosen = next_repeat(self.record, self.plan.seed) if self.record.num_ended == self.record.num_proposed else None
        if chosen is None:
            return None
        return self._propose(chosen.cell, repeat_seed(self.plan.seed, chosen.cell), chosen.number)

    def _propose(self, cell: CellSpec, seed: int, repeats: int | None = None) -> CellProposed:
        cost = self.plan.cost_of(cell)
        number = len(self.record.trials)
        proposed = CellProposed(
            number,
            cell=cell,
            seed=seed,
            params=cost.params,
            madds=cost.madds,
            time_s=now_s(),
            repeats=repeats,
            latency_ms=cost.latency_ms,
        )
        self._append(proposed)
        return proposed

    def _end_of(self, last: RungReached) -> TrialEnded:
        status = Status.COMPLETED if last.iteration >= self.plan.rungs[-1] else Status.STOPPED
        return TrialEnded(last.trial, status, last.reason, last.elapsed_s, now_s())

    def _append(self, *events: Event) -> None:
        self._journal.append(*events)
        for event in events:
            self.record.apply(event)
            if isinstance(event, TrialsReopened):
                self._policy = policy_of(self.plan, self.record)
            else:
                tell(self._policy, self.record, event)
            self._on_event(event)
            for callback in self._callbacks:
                callback(self, event)


def _alike(one: str, other: str) -> bool:
    """Whether two reasons differ in numbers alone: addresses, process ids, trials."""
    return _NUMBER.sub("#", one) == _NUMBER.sub("#", other)


_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+")
