"""The rows of a page's leaderboard, and how figures lead to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.deciding.outcomes import Status
from search.findings.cost_front import cost_front
from search.journal.record import SearchRecord, TrialRecord
from search.wording import percent, quantity

EVERY, TOP = 1000, 100
"""Cells that all have a row; of more, the best so many and the front have one."""


@dataclass(frozen=True, slots=True)
class Row:
    """A cell's row.

    Attributes:
        is_late: whether it is shown only when every row is asked for.
        is_late_of_status: the same, where the rows of its status alone are shown.
    """

    rank: int
    trial: TrialRecord
    is_late: bool
    is_late_of_status: bool

    @property
    def anchor(self) -> str:
        return f"t{self.trial.number}"

    @property
    def classes(self) -> str:
        """For the page's style: the status, and what is shown only when every row is asked for."""
        late = [" late"] if self.is_late else []
        return "".join([str(self.trial.status), *late, *([" late-of-status"] if self.is_late_of_status else [])])


@dataclass(frozen=True, slots=True)
class Board:
    """Rows of cells with a score, best first, and how many cells have one."""

    rows: Sequence[Row]
    scored: int
    shown: int

    @property
    def links(self) -> Mapping[int, str]:
        """By trial, the address of its row."""
        return {row.trial.number: f"#{row.anchor}" for row in self.rows}

    @property
    def hovers(self) -> Mapping[str, str]:
        """By a row's address, what its mark in a figure says."""
        return {f"#{row.anchor}": _said(row) for row in self.rows}


def board(record: SearchRecord, ranked: Sequence[TrialRecord], shown: int) -> Board:
    """The rows of a search's cells with a score.

    Args:
        shown: rows that are there at once; the others when they are asked for, or when a mark leads there.
    """
    front = {one.trial for one in cost_front(record, "madds").front} if len(ranked) > EVERY else set()
    rows, of_status = [], dict.fromkeys((str(Status.COMPLETED), str(Status.STOPPED)), 0)
    for rank, trial in enumerate(ranked, start=1):
        status = str(trial.status)
        of_status[status] += 1
        if len(ranked) <= EVERY or rank <= TOP or trial.number in front:
            rows.append(Row(rank, trial, rank > shown, of_status[status] > shown))
    return Board(rows, len(ranked), shown)


def _said(row: Row) -> str:
    trial = row.trial
    costs = f"{quantity(trial.madds)} multiply-adds, {quantity(trial.params)} parameters"
    return f"Rank {row.rank}: {percent(trial.miou)} %, {trial.status} at rung {len(trial.rungs)}, {costs}\n{trial.cell}"
