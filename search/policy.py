"""What to try next and who goes on: a function of a search's events and of nothing else, so that replaying decides alike."""

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.spec import CellSpec
from search.algorithms.base import Algorithm, proposal_seed, propose_new, training_seed
from search.budget import Budget, CostOf
from search.evaluation import Finished
from search.journal import CellProposed, Event, RungReached, TrialEnded, TrialInherited
from search.record import SearchRecord, TrialRecord
from search.schedulers import Decision, Scheduler
from search.space import CellSpace


@dataclass(frozen=True)
class Plan:
    """What is searched, and how: everything that decides proposals and early stopping.

    Attributes:
        rungs: training iterations at which every cell is scored; the last is the full budget.
        trials: cells to evaluate in all, over every time the search is resumed.
        seed: of the proposals and of every cell's training.
        cost_of: a cell's exact cost.
        budget: the most a cell may cost.
        window: None lets a decision see all results that have arrived. A number makes the search deterministic: proposal n
            waits for the ends of trials up to n - window, and it and its trial's rungs see those alone.
        paired: every training has the study's own seed, so that all cells see the same batches; else it follows from the cell.
    """

    space: CellSpace
    algorithm: Algorithm
    scheduler: Scheduler
    rungs: Sequence[int]
    trials: int
    seed: int
    cost_of: CostOf
    budget: Budget = field(default_factory=Budget)
    window: int | None = None
    paired: bool = False

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}.")

    def seed_of(self, cell: CellSpec) -> int:
        """Of a cell's training."""
        return self.seed if self.paired else training_seed(self.seed, cell)


class Policy:
    """A plan applied to a search's events: first to those in ``record``, then to each that ``apply`` is told."""

    def __init__(self, plan: Plan, record: SearchRecord) -> None:
        self._plan, self._record = plan, record
        self._known: set[str] = set()
        self._running: set[int] = set()
        self._finished = Finished()
        self._pending: dict[int, CellSpec] = {}
        self._num_seen = 0
        self._board = _Board(plan)
        for trial in record.trials.values():
            self._take_in(trial)

    def apply(self, event: Event) -> None:
        """Take in the next event, after the record."""
        match event:
            case TrialInherited():
                self._take_in(self._record.trials[event.trial])
            case CellProposed():
                self._begin(self._record.trials[event.trial])
            case RungReached():
                rungs = self._record.trials[event.trial].rungs
                self._board.add(event.trial, [rung.iteration for rung in rungs], [rung.miou for rung in rungs])
            case TrialEnded():
                self._end(self._record.trials[event.trial])

    @property
    def is_waiting(self) -> bool:
        """Whether the next proposal needs the end of a trial that is still running."""
        return self._plan.window is not None and any(
            trial <= len(self._record.trials) - self._plan.window for trial in self._running
        )

    def next_cell(self) -> CellSpec:
        """The cell of the next trial.

        Raises:
            SpaceExhaustedError: there is none.
        """
        plan, number = self._plan, len(self._record.trials)
        if plan.window is not None:
            while self._num_seen <= number - plan.window:
                self._see(self._num_seen)
        return propose_new(
            plan.algorithm,
            plan.space,
            self._finished,
            list(self._pending.values()),
            self._known,
            proposal_seed(plan.seed, number),
            lambda cell: not plan.budget.limits or plan.budget.allows(plan.cost_of(cell)),
        )

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float]) -> Decision:
        """Whether a trial with these scores, one a rung, goes on."""
        if iterations[-1] >= self._plan.rungs[-1]:
            return Decision(False, "full budget")
        peers = self._board.peers(trial, len(mious))
        return self._plan.scheduler.decide(trial, iterations, mious, peers)

    def _take_in(self, trial: TrialRecord) -> None:
        self._begin(trial)
        if trial.is_comparable:
            iterations, mious = [rung.iteration for rung in trial.rungs], [rung.miou for rung in trial.rungs]
            for rung in range(1, len(trial.rungs) + 1):
                self._board.add(trial.proposed.trial, iterations[:rung], mious[:rung])
        if trial.ended:
            self._end(trial)

    def _begin(self, trial: TrialRecord) -> None:
        if trial.is_comparable:
            self._known.add(trial.cell.digest)
        self._running.add(trial.proposed.trial)
        self._pending[trial.proposed.trial] = trial.cell

    def _end(self, trial: TrialRecord) -> None:
        self._running.remove(trial.proposed.trial)
        if self._plan.window is None:
            self._see(trial.proposed.trial)

    def _see(self, number: int) -> None:
        """From now on the result of trial ``number`` counts."""
        self._finished.add(self._record.trials[number].evaluation())
        del self._pending[number]
        self._num_seen += 1


class _Board:
    """What trials have reached at each rung, by bracket: what the scheduler compares with."""

    def __init__(self, plan: Plan) -> None:
        self._scheduler, self._window = plan.scheduler, plan.window
        self._standings: dict[tuple[int, int], list[float]] = defaultdict(list)
        self._trials: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)

    def add(self, trial: int, iterations: Sequence[int], mious: Sequence[float]) -> None:
        """Take in the last of a trial's scores."""
        place = self._scheduler.bracket(trial), len(mious)
        standing = self._scheduler.standing(iterations, mious)
        if self._window is None:
            insort(self._standings[place], standing)
        else:
            self._trials[place].append((trial, standing))

    def peers(self, trial: int, rung: int) -> Sequence[float]:
        """Standings at ``rung``, ascending, that count for ``trial``, which is not among them yet."""
        place = self._scheduler.bracket(trial), rung
        if self._window is None:
            return self._standings[place]
        last = trial - self._window
        return sorted(standing for other, standing in self._trials[place] if other <= last)
