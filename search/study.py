"""A search as it goes: what to try next, what came of it. It knows the journal and nothing of Ray."""

from collections.abc import Callable
from dataclasses import dataclass

from models.cost import CellCost
from models.spec import CellSpec
from search.algorithms.base import Algorithm, SpaceExhaustedError, proposal_seed, propose_new, training_seed
from search.evaluation import Evaluation, Status
from search.journal import CellProposed, Event, Journal, RungReached, SearchClosed, SearchOpened, TrialEnded, now_s
from search.record import SearchRecord
from search.space import CellSpace


@dataclass(frozen=True)
class Plan:
    """What is searched, and how: everything that decides the proposals.

    Attributes:
        trials: cells to evaluate in all, over every time the search is resumed.
        seed: of the proposals and of every cell's training.
        cost_of: a cell's exact cost.
    """

    space: CellSpace
    algorithm: Algorithm
    trials: int
    seed: int
    cost_of: Callable[[CellSpec], CellCost]

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}.")


class Study:
    """Proposes trials and journals what becomes of them; each event is on the disk before anyone else sees it.

    Trials that the journal leaves open (their process was killed) are handed out again first, with their number, cell and
    seed.

    Args:
        record: of the journal's events so far; it is kept up to date.
        on_event: told each event after the record.
    """

    def __init__(
        self,
        journal: Journal,
        record: SearchRecord,
        plan: Plan,
        opened: SearchOpened,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.plan = plan
        self.record = record
        self._journal = journal
        self._on_event = on_event
        self._exhausted = ""
        self._interrupted = [trial.proposed for trial in self.record.running]
        self._known = {trial.cell.digest for trial in self.record.trials.values()}
        self._finished: dict[int, Evaluation] = {trial.proposed.trial: trial.evaluation() for trial in self.record.finished}
        self._pending = {trial.proposed.trial: trial.cell for trial in self.record.running}
        self._append(opened)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run."""
        return self.record.closed is not None

    def propose(self) -> CellProposed | None:
        """The next trial to run, or None when no more will come."""
        if self._interrupted:
            return self._interrupted.pop(0)
        number = len(self.record.trials)
        if number >= self.plan.trials or self.is_complete:
            return None
        try:
            cell = propose_new(
                self.plan.algorithm,
                self.plan.space,
                [self._finished[trial] for trial in sorted(self._finished)],
                list(self._pending.values()),
                self._known,
                proposal_seed(self.plan.seed, number),
            )
        except SpaceExhaustedError as exhausted:
            self._exhausted = str(exhausted)
            return None
        cost = self.plan.cost_of(cell)
        proposed = CellProposed(number, cell, training_seed(self.plan.seed, cell), cost.params, cost.madds, now_s())
        self._known.add(cell.digest)
        self._pending[number] = cell
        self._append(proposed)
        return proposed

    def reached(self, trial: int, rung: int, iteration: int, miou: float, loss: float, elapsed_s: float) -> None:
        """A trial was scored. A score that is already known (told again by a resumed trial) changes nothing."""
        if rung > len(self.record.trials[trial].rungs):
            self._append(RungReached(trial, rung, iteration, miou, loss, elapsed_s, now_s()))

    def ended(self, trial: int, status: Status, reason: str) -> None:
        """A trial ended; this happens once a trial."""
        elapsed_s = self.record.trials[trial].elapsed_s
        self._append(TrialEnded(trial, status, reason, elapsed_s, now_s()))
        self._finished[trial] = self.record.trials[trial].evaluation()
        del self._pending[trial]

    def close(self) -> None:
        """Say that the search is complete, if every trial that will ever be proposed has ended."""
        reason = self._exhausted or f"{self.plan.trials} trials"
        if not self._pending and (self._exhausted or len(self.record.trials) >= self.plan.trials):
            self._append(SearchClosed(reason, now_s()))

    def _append(self, event: Event) -> None:
        self._journal.append(event)
        self.record.apply(event)
        self._on_event(event)
