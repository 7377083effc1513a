"""What to try next and which trials continue: follows only from what happened in a search, so that a replay decides alike."""

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from data.system.errors import UserError
from models.spec import CellError, CellSpec
from search.deciding.algorithms.base import Algorithm, proposal_seed, propose_new, training_seed
from search.deciding.algorithms.prior import NearPrior
from search.deciding.budget import Budget, CostOf
from search.deciding.outcomes import Evaluation, Finished
from search.deciding.schedulers import Decision, Scheduler
from search.deciding.space import CellSpace


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
        repeats: so many cells are scored again at the end, under another seed.
        first: cells that are scored before the algorithm is asked for one.
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
    repeats: int = 0
    paired: bool = False
    first: Sequence[CellSpec] = ()

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}.")
        if self.repeats < 0:
            raise ValueError(f"repeats must be at least 0, got {self.repeats}.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}.")
        for cell in self.first:
            try:
                self.space.check(cell)
            except CellError as error:
                raise UserError(f"first: {error}") from error
        if len({cell.digest for cell in self.first}) < len(self.first):
            raise UserError("first: it names a cell twice; cells that differ only in the order of branches are one.")
        if len(self.first) > self.trials:
            raise UserError(f"trials must be at least {len(self.first)} for the cells that come first, got {self.trials}.")

    def check_costs(self) -> None:
        """Raise a UserError if the budget is below the space's cheapest cell, or below one that somebody chose."""
        self.budget.check(self.space, self.cost_of)
        chosen = [("first", cell) for cell in self.first]
        if isinstance(self.algorithm, NearPrior):
            chosen.append(("prior.cell", self.algorithm.prior.cell))
        for setting, cell in chosen:
            if not self.allows(cell):
                cost = self.cost_of(cell)
                raise UserError(f"{setting}: {cell} is over the budget: {cost.params:,} params, {cost.madds:,} madds.")

    def allows(self, cell: CellSpec) -> bool:
        """Whether a cell is within the budget."""
        return not self.budget.limits or self.budget.allows(self.cost_of(cell))

    def seed_of(self, cell: CellSpec) -> int:
        """The seed of the training that scores ``cell``."""
        return self.seed if self.paired else training_seed(self.seed, cell)


class Policy:
    """A plan applied to a search, which is told to it as it goes: each trial's begin, its scores, its end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: set[str] = set()
        self._first = [cell.canonical() for cell in plan.first]
        self._pending: dict[int, CellSpec] = {}
        self._running: set[int] = set()
        self._repeats: set[int] = set()
        self._through: set[int] = set()
        self._ended: dict[int, Evaluation] = {}
        self._finished = Finished()
        self._num_begun = 0
        self._board = _Board(plan)

    def begin(
        self,
        trial: int,
        cell: CellSpec,
        is_comparable: bool = True,
        comes_first: bool = False,
        is_repeat: bool = False,
        trains_through: bool = False,
    ) -> None:
        """The next trial begins.

        Args:
            is_comparable: whether its scores are got as this search gets them; if not, its cell may be proposed again.
            comes_first: whether this search scores its cell before any that the algorithm proposes.
            is_repeat: whether its cell was scored before, under another seed: no proposal or stop depends on its scores.
            trains_through: whether a person asked that no scheduler stops it.
        """
        if trains_through:
            self._through.add(trial)
        if is_repeat:
            self._repeats.add(trial)
        if is_comparable:
            self._known.add(cell.digest)
        if comes_first:
            self._first.append(cell)
        self._running.add(trial)
        self._pending[trial] = cell
        self._num_begun += 1

    def score(self, trial: int, iterations: Sequence[int], mious: Sequence[float]) -> None:
        """A trial was scored: at these iterations, one per rung, of which the last is new."""
        if trial in self._repeats:
            return
        self._board.add(trial, iterations, mious)

    def end(self, evaluation: Evaluation) -> None:
        """A trial ends."""
        self._running.remove(evaluation.trial)
        is_repeat = evaluation.trial in self._repeats
        self._ended[evaluation.trial] = replace(evaluation, mious=()) if is_repeat else evaluation
        if self._plan.window is None:
            self._see(evaluation.trial)

    @property
    def is_waiting(self) -> bool:
        """Whether the next proposal needs the end of a trial that is still running."""
        return self._plan.window is not None and any(trial <= self._num_begun - self._plan.window for trial in self._running)

    def next_cell(self) -> CellSpec:
        """The cell of the next trial.

        Raises:
            SpaceExhaustedError: there is none.
        """
        plan = self._plan
        if plan.window is not None:
            while len(self._finished) <= self._num_begun - plan.window:
                self._see(len(self._finished))
        for cell in self._first:
            if cell.digest not in self._known and plan.allows(cell):
                return cell
        return propose_new(
            plan.algorithm,
            plan.space,
            self._finished,
            list(self._pending.values()),
            self._known,
            proposal_seed(plan.seed, self._num_begun),
            plan.allows,
        )

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float]) -> Decision:
        """Whether a trial with these scores, one per rung, continues."""
        if iterations[-1] >= self._plan.rungs[-1]:
            return Decision(False, "full budget")
        if trial in self._repeats:
            return Decision(True, "a repeat trains through")
        if trial in self._through:
            return Decision(True, "resumed to the full budget")
        peers = self._board.peers(trial, len(mious))
        return self._plan.scheduler.decide(trial, iterations, mious, peers)

    def _see(self, trial: int) -> None:
        """From now on the result of ``trial`` counts."""
        self._finished.add(self._ended.pop(trial))
        del self._pending[trial]


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
