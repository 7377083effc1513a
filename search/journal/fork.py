"""A search that begins with what another one found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.spec import Operator
from search.deciding.space import CellSpace
from search.journal.events import TrialInherited, now_s
from search.journal.folder import open_search

SCORING = ("proxy", "features", "scoring_code")
"""The parts of a fingerprint that decide what a score means."""


def inherit(
    folder: Path, fingerprint: Mapping[str, Any], space: CellSpace, operators: tuple[type[Operator], ...]
) -> list[TrialInherited]:
    """The finished trials of the search in ``folder`` whose cells are in ``space``, numbered from 0.

    Their scores are comparable if that search scored as ``fingerprint`` says.

    Raises:
        JournalError: there is no search, or its journal is damaged.
    """
    parent = open_search(folder, operators, "from")
    is_comparable = all(parent.opened.fingerprint.get(key) == fingerprint.get(key) for key in SCORING)
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
        for number, trial in enumerate(trial for trial in parent.record.finished if trial.cell in space)
        if trial.ended
    ]
