"""Trials without a score, and why: what a person must put right."""

from collections import Counter
from collections.abc import Iterable
from textwrap import shorten

from search.deciding.outcomes import Status
from search.journal.record import SearchRecord

WIDTH = 240
"""Characters of a reason: libraries explain at length."""


def failures(records: Iterable[SearchRecord]) -> str:
    """How many trials failed or diverged, the most frequent reason of either, and what can be done; empty where none did."""
    ends = [trial.ended for record in records for trial in record.finished if trial.ended]
    parts = []
    for status in (Status.FAILED, Status.DIVERGED):
        reasons = Counter(end.reason for end in ends if end.status == status)
        if reasons:
            ((reason, count),) = reasons.most_common(1)
            most = "" if count == reasons.total() else f" of {count}"
            cure = "; retry_failed=true tries them again" if status == Status.FAILED else ""
            parts.append(f"{reasons.total()} {status.value} (the reason{most}: {shorten(reason, WIDTH)}{cure})")
    return "; ".join(parts)


def no_score_code(records: Iterable[SearchRecord]) -> int:
    """The exit code of what ran to its end: 1 where nothing has a score that counts."""
    return 0 if any(record.scored() for record in records) else 1
