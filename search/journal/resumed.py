"""Which of a search's trials are to continue, by the names that people have for them."""

from collections.abc import Sequence

from data.system.errors import UserError
from search.deciding.outcomes import Status
from search.journal.record import SearchRecord, TrialRecord


def to_resume(record: SearchRecord, names: Sequence[int | str]) -> list[int]:
    """The numbers of those trials that are to be opened again; one that has its full budget, or continues to it, is not.

    Args:
        names: trials' numbers, or digests of their cells.

    Raises:
        UserError: one names no trial, or one that cannot continue.
    """
    trials = [_named(record, str(name)) for name in names]
    ended = [trial for trial in trials if trial.status in (Status.STOPPED, Status.FAILED)]
    return list(dict.fromkeys(trial.number for trial in ended))


def _named(record: SearchRecord, name: str) -> TrialRecord:
    of_cell = [trial for trial in record.trials.values() if name in (trial.cell.digest, str(trial.number))]
    found = [trial for trial in of_cell if trial.proposed.repeats is None]
    if not found:
        why = "repeats another trial's cell, and is never stopped early" if of_cell else "there is none"
        raise UserError(f"resume: trial {name}: {why}.")
    trial = found[-1]
    if trial.source:
        raise UserError(f"resume: trial {name} was trained by {trial.source}; resume it there.")
    if trial.status == Status.DIVERGED:
        raise UserError(f"resume: trial {name} diverged, and would do so again under its seed.")
    if trial.ended is None and not trial.trains_through:
        raise UserError(f"resume: trial {name} is still running and will finish anyway.")
    return trial
