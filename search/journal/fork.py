"""A search that begins with what another one found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.spec import Operator
from search.deciding.space import CellSpace
from search.journal.events import TrialInherited, now_s
from search.journal.lines import read_events
from search.journal.record import SearchRecord

SCORING = ("proxy", "features", "scoring_code")
"""The parts of a fingerprint that decide what a score means."""


def inherit(
    journal: Path, fingerprint: Mapping[str, Any], space: CellSpace, operators: tuple[type[Operator], ...]
) -> list[TrialInherited]:
    """The finished trials of the search at ``journal`` whose cells are in ``space``, numbered from 0.

    Their scores are comparable if that search scored as ``fingerprint`` says. Of a cell with several trials, as recorded tables
    have them, the last one counts: the first may be what it was chosen by.

    Raises:
        ValueError: there is no search.
        JournalError: the journal is damaged.
    """
    parent = SearchRecord(read_events(journal, operators=operators)[0])
    if parent.opened is None:
        raise ValueError(f"from: no search at {journal}.")
    is_comparable = all(parent.opened.fingerprint.get(key) == fingerprint.get(key) for key in SCORING)
    last = {trial.cell.digest: trial for trial in parent.finished if trial.cell in space}
    time_s = now_s()
    return [
        TrialInherited(
            number,
            parent.opened.name,
            is_comparable and trial.is_comparable,
            trial.cell,
            trial.proposed.seed,
            trial.proposed.params,
            trial.proposed.madds,
            tuple((rung.iteration, rung.miou, rung.loss, rung.elapsed_s) for rung in trial.rungs),
            trial.ended.status,
            trial.ended.reason,
            trial.elapsed_s,
            time_s,
        )
        for number, trial in enumerate(last.values())
        if trial.ended
    ]
