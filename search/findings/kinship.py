"""What two cells have in common, and through which cells a search came to its best one."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise

from models.spec import BACKBONE, CellSpec
from search.journal.record import SearchRecord, TrialRecord

ELDERS = 50
"""Of the best cells that had ended by then, so many may be an ancestor."""
MOST_CHANGED = 2
"""Branches in which a cell differs from its ancestor."""
LONGEST = 5
"""Cells of a line."""


def shared_branches(one: CellSpec, other: CellSpec) -> tuple[frozenset[int], frozenset[int]]:
    """The branches of either that both cells have: the largest tree, from the backbone down, that is in both."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # a quarter of a second

    @cache
    def pairs(mine: int, theirs: int) -> tuple[tuple[int, int], ...]:
        """Of the branches below two that are alike."""
        readers, others = one.children[mine], other.children[theirs]
        if not readers or not others:
            return ()
        below = {(a, b): ((a, b), *pairs(a, b)) for a in readers for b in others if _alike(one, a, other, b)}
        sizes = [[len(below.get((a, b), ())) for b in others] for a in readers]
        rows, columns = linear_sum_assignment(sizes, maximize=True)
        chosen = [(readers[row], others[column]) for row, column in zip(rows, columns, strict=True)]
        return tuple(pair for both in chosen for pair in below.get(both, ()))

    found = pairs(BACKBONE, BACKBONE)
    return frozenset(mine for mine, _ in found), frozenset(theirs for _, theirs in found)


def changed(cell: CellSpec, elder: CellSpec) -> int:
    """Branches of ``cell`` that ``elder`` does not have."""
    return len(cell) - len(shared_branches(cell, elder)[0])


def ancestry(record: SearchRecord) -> Sequence[TrialRecord]:
    """The best completed cell, before it the one that it most likely came from, and so on; the eldest first.

    A journal tells no parents. The likely one is, among the best cells that had ended when a cell was proposed, the one that it
    differs from in the fewest branches; of equals the better one. A line ends where that is more than ``MOST_CHANGED``.
    """
    completed = record.completed()
    line = list(completed[:1])
    while line and len(line) < LONGEST:
        youngest = line[-1]
        elders = [trial for trial in completed if _had_ended(trial, youngest)][:ELDERS]
        nearest = min(elders, key=lambda trial: changed(youngest.cell, trial.cell), default=None)
        if nearest is None or changed(youngest.cell, nearest.cell) > min(MOST_CHANGED, len(youngest.cell) - 1):
            break
        line.append(nearest)
    return line[::-1]


def inherited_branches(line: Sequence[TrialRecord]) -> Mapping[int, frozenset[int]]:
    """By trial, the branches that the cell before it in the line has; of the first none are."""
    kept = {line[0].number: frozenset[int]()} if line else {}
    for elder, trial in pairwise(line):
        kept[trial.number] = shared_branches(trial.cell, elder.cell)[0]
    return kept


def _had_ended(trial: TrialRecord, later: TrialRecord) -> bool:
    return trial.ended is not None and trial is not later and trial.ended_at < later.proposed_at


def _alike(one: CellSpec, mine: int, other: CellSpec, theirs: int) -> bool:
    return one.branches[mine].operator == other.branches[theirs].operator
