"""``dpc.study``: a search whose cells somebody else scores, one by one."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Self

from data.system.errors import UserError
from data.system.paths import absolute
from models.cost import TABLE_1, FeatureShape
from models.spec import CellSpec
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.prior import Prior
from search.deciding.budget import Budget
from search.deciding.outcomes import Status
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.findings.leaderboard import write_leaderboard
from search.journal.events import CellProposed
from search.journal.folder import JOURNAL
from search.journal.journal import Journal
from search.journal.study import Study
from search.session.beginning import Beginning
from search.session.planned import planned
from training.score import DivergedError, RungScore, as_miou


class AskTell:
    """A study to ask for cells and to tell scores, in any order, from any thread of one process; ``dpc.study`` makes it.

    Each answer is in the journal when a call returns. What was asked for and not told to its end is asked for again after a
    restart, under its number and seed, and told from its first rung.

    Attributes:
        record: the search as it stands: ``.best``, ``.ranked()``, ``.trials``.
    """

    def __init__(self, folder: Path, beginning: Beginning) -> None:
        self._journal = Journal(folder / JOURNAL, beginning.plan.space.operator_kinds)
        try:
            self.record, opened = beginning.begin(self._journal)
            self._study = Study(self._journal, self.record, beginning.plan, opened)
        except BaseException:
            self._journal.close()
            raise
        self._asked: dict[int, tuple[int, float]] = {}
        self._lock = Lock()

    @property
    def has_more(self) -> bool:
        """Whether there will be another cell to ask for: now, or once one that was asked for has been told to its end."""
        with self._alone():
            return self._study.has_more

    def ask(self) -> CellProposed | None:
        """The next cell to score: its number ``trial``, ``cell``, ``seed``, exact ``params`` and ``madds``.

        None where there is none: all are asked for, or a study with a ``window`` waits for the end of one that was asked for.
        ``has_more`` tells these apart.
        """
        with self._alone():
            proposed = self._study.propose()
            if proposed is None:
                self._study.close()
                return None
            self._asked[proposed.trial] = 0, time.monotonic()
            return proposed

    def tell(self, asked: CellProposed, score: float) -> bool:
        """The score of a cell at its next rung, from 0 to 1; NaN where its training diverged.

        Returns:
            Whether it is to be trained on. If not, it has ended: it was stopped early, or that was its last rung.

        Raises:
            ValueError: the score is none, or the cell has ended or was not asked for.
        """
        with self._alone():
            rung, began_s = self._entry_of(asked, "tell")
            try:
                miou = as_miou(score)
            except DivergedError as error:
                self._end(asked, Status.DIVERGED, str(error))
                return False
            iteration = self._study.plan.rungs[rung]
            goes_on = self._study.reached(asked.trial, RungScore(rung + 1, iteration, miou, None, time.monotonic() - began_s))
            if goes_on:
                self._asked[asked.trial] = rung + 1, began_s
            else:
                del self._asked[asked.trial]
                self._study.close()
            return goes_on

    def fail(self, asked: CellProposed, reason: str) -> None:
        """A cell that cannot be scored: it ends without a score, and the study continues.

        Raises:
            ValueError: the cell has ended or was not asked for.
        """
        with self._alone():
            self._entry_of(asked, "fail")
            self._end(asked, Status.FAILED, " ".join(reason.split()))

    def close(self) -> None:
        """Write ``leaderboard.csv`` and ``best.json``, and let another process open the study."""
        with self._alone():
            write_leaderboard(self.record, self._journal.path.parent)
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time. After an interrupt the journal alone knows how far it came, and nothing more is written."""
        with self._lock:
            try:
                yield
            except KeyboardInterrupt:
                self._journal.give_up("the study was interrupted while writing; open it again to resume from its journal.")
                raise

    def _entry_of(self, asked: CellProposed, call: str) -> tuple[int, float]:
        if asked.trial not in self._asked:
            raise UserError(f"{call}: trial {asked.trial} has ended, or was not asked for.")
        return self._asked[asked.trial]

    def _end(self, asked: CellProposed, status: Status, reason: str) -> None:
        self._study.failed(asked.trial, status, reason)
        del self._asked[asked.trial]
        self._study.close()


def study(
    space: CellSpace,
    *,
    rungs: Sequence[int] = (1,),
    trials: int = 50,
    name: str = "default",
    output_dir: str | Path = "outputs",
    algorithm: Algorithm | None = None,
    scheduler: Scheduler | None = None,
    first: Sequence[CellSpec | str | Path] = (),
    prior: Prior | None = None,
    budget: Budget | None = None,
    features: FeatureShape = TABLE_1,
    filters: int = 256,
    latency: str | Path | None = None,
    seed: int = 0,
    window: int | None = None,
    settings: Mapping[str, Any] | None = None,
    accept: Sequence[str] = (),
) -> AskTell:
    """A search whose cells you score yourself, wherever and however they run; neither Ray nor torch is loaded.

    ::

        with dpc.study(space, rungs=(1, 3), trials=20, name="mine") as study:
            while asked := study.ask():
                for score in my_scores(asked.cell, asked.seed):
                    if not study.tell(asked, score):
                        break

    The same call resumes where it was left. All arguments are those of ``dpc.search``.

    Raises:
        ValueError: an argument is wrong, another process has the study, or the name is that of a search with other settings.
    """
    beginning = planned(
        space=space,
        rungs=rungs,
        trials=trials,
        name=name,
        algorithm=algorithm,
        scheduler=scheduler,
        first=first,
        prior=prior,
        budget=budget,
        features=features,
        filters=filters,
        latency=latency,
        seed=seed,
        window=window,
        settings=settings or {},
        scored_by={},
        accept=accept,
    )
    return AskTell(absolute(output_dir, "output_dir") / name, beginning)
