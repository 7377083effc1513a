"""Which cells a search scores twice, under another seed: so that it knows how far its scores are luck."""

from random import Random

from search.deciding.outcomes import Status
from search.journal.record import SearchRecord, TrialRecord


def next_repeat(record: SearchRecord, seed: int) -> TrialRecord | None:
    """The trial whose cell is scored again: any of those that completed and were not repeated yet, with equal chance.

    A function of the record and the search's seed, so that a resumed search repeats the same ones. None where none is left.
    """
    repeated = {trial.proposed.repeats for trial in record.repeats.values()}
    left = [
        trial
        for number, trial in record.trials.items()
        if trial.status == Status.COMPLETED and not trial.source and number not in repeated and number not in record.repeats
    ]
    return Random(f"repeat {seed} {len(record.repeats)}").choice(left) if left else None
