"""Which operators good cells are made of, and whether that is more than chance."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from models.spec import CellSpec, Operator
from search.journal.record import SearchRecord

ERROR_RATE = 0.05
"""The chance that any of the intervals of one table misses, where nothing but chance is at work."""

FEWEST = 5
"""Good cells from which on their operators are worth a look: one good cell of ten uses each of its own ten times too often."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Usage:
    """How often branches apply an operator, or one of a kind.

    Attributes:
        count_good, count_all: branches of good cells, and of all cells, that do.
        expected: branches of good cells that would, if they were as those of all cells are.
        share_good, share_all: the same as shares of those cells' branches.
        low, high: the ends of the interval of ``share_good``.
    """

    count_good: int
    count_all: int
    expected: float
    share_good: float
    share_all: float
    low: float
    high: float

    @property
    def lift(self) -> float:
        """How many times as often good cells use it as all cells do."""
        return self.share_good / self.share_all

    @property
    def is_noise(self) -> bool:
        """Whether good cells may well use it as all cells do."""
        return self.low <= self.share_all <= self.high


@dataclass(frozen=True, slots=True)
class OperatorUsage:
    """What the good cells of a search are made of, against all its cells with a score.

    Attributes:
        kinds: by the first word of an operator's text, such as atrous.
    """

    good_cells: int
    all_cells: int
    kinds: Mapping[str, Usage]
    operators: Mapping[Operator, Usage]

    @property
    def is_telling(self) -> bool:
        """Whether there are good cells enough to speak of what they are made of."""
        return self.good_cells >= FEWEST


def operator_usage(record: SearchRecord, top: float = 0.1) -> OperatorUsage | None:
    """Compare the leaderboard's first ``top`` with all cells that have a score; None where none has.

    The intervals are Clopper and Pearson's (1934) for independent branches, widened so that of all operators, or kinds, none
    stands out by chance (Bonferroni). Cells that an algorithm derived from good ones are not independent: of such a search
    they are too narrow.
    """
    if not 0 < top <= 1:
        raise ValueError(f"operator_usage: top must be above 0 and at most 1, got {top:g}.")
    cells = [trial.cell for trial in record.scored()]
    if not cells:
        return None
    good = cells[: ceil(top * len(cells))]
    operators_good, operators_all = _operators(good), _operators(cells)
    return OperatorUsage(
        len(good),
        len(cells),
        kinds=_compare([*map(kind_of_operator, operators_good)], [*map(kind_of_operator, operators_all)]),
        operators=_compare(operators_good, operators_all),
    )


def kind_of_operator(operator: Operator) -> str:
    """The first word of its text."""
    return str(operator).split()[0]


def _operators(cells: Sequence[CellSpec]) -> list[Operator]:
    return [branch.operator for cell in cells for branch in cell.branches]


def _compare(good: Sequence[Key], everything: Sequence[Key]) -> dict[Key, Usage]:
    counts_good, counts_all = Counter(good), Counter(everything)
    level = 1 - ERROR_RATE / len(counts_all)
    return {key: _usage(counts_good[key], len(good), count, len(everything), level) for key, count in counts_all.items()}


def _usage(count_good: int, num_good: int, count_all: int, num_all: int, level: float) -> Usage:
    from scipy.special import betaincinv  # noqa: PLC0415  # loaded when a number is asked for

    tail = (1 - level) / 2
    low = float(betaincinv(count_good, num_good - count_good + 1, tail)) if count_good else 0.0
    high = float(betaincinv(count_good + 1, num_good - count_good, 1 - tail)) if count_good < num_good else 1.0
    expected = num_good * count_all / num_all
    return Usage(count_good, count_all, expected, count_good / num_good, count_all / num_all, low, high)
