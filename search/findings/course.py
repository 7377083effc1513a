"""How a search went: its trials by how they ended, why some have no score, and the time that it took."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.deciding.outcomes import Status
from search.findings.rung_correlations import RungCorrelation, rung_correlations
from search.journal.events import Event, RungReached, SearchOpened, TrialEnded
from search.journal.record import SearchRecord

REASONS = 10
"""Different reasons that are listed: the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Course:
    """What became of a search's own trials, up to its journal's last line.

    Attributes:
        planned: trials it was last started for, if the journal says it.
        open: proposed and not ended: they run, or were interrupted.
        reasons: status, reason and number of the trials without a score, most frequent first; at most ``REASONS``.
        starts: how often its process was started.
        wall_s: from each start to the last line before the next.
        trial_s: of training and validation, over all trials; one that was opened again trained anew, and costs twice.
        closed: the reason why it ended, or "".
    """

    planned: int | None
    ends: Counter[Status]
    open: int
    inherited: int
    reasons: Sequence[tuple[Status, str, int]]
    starts: int
    wall_s: float
    trial_s: float
    first_s: float
    last_s: float
    closed: str

    @property
    def proposed(self) -> int:
        return self.ended + self.open

    @property
    def ended(self) -> int:
        return self.ends.total()

    @property
    def unscored(self) -> int:
        return sum(count for end, count in self.ends.items() if not end.has_score)


@dataclass(frozen=True, slots=True)
class RungCourse:
    """How many trials reached a rung, how many the scheduler ended there, and how that rung ranked the completed ones."""

    rung: int
    iteration: int
    reached: int
    stopped: int
    correlation: RungCorrelation | None


def course(events: Sequence[Event], record: SearchRecord) -> Course:
    """Add up a journal's events; ``record`` is theirs."""
    starts = [index for index, event in enumerate(events) if isinstance(event, SearchOpened)]
    ends = [*starts[1:], len(events)]
    opened = [event for event in events if isinstance(event, SearchOpened)]
    own = [trial for trial in record.trials.values() if not trial.source]
    reasons = Counter(
        (trial.ended.status, trial.ended.reason) for trial in own if trial.ended and not trial.ended.status.has_score
    )
    return Course(
        planned=opened[-1].settings.get("trials"),
        ends=record.ends,
        open=record.num_proposed - record.num_ended,
        inherited=record.num_inherited,
        reasons=[(status, reason, count) for (status, reason), count in reasons.most_common(REASONS)],
        starts=len(opened),
        wall_s=sum(max(0.0, events[end - 1].time_s - events[start].time_s) for start, end in zip(starts, ends, strict=True)),
        trial_s=_trained_s(events),
        first_s=opened[0].time_s,
        last_s=events[-1].time_s,
        closed=record.closed.reason if record.closed else "",
    )


def _trained_s(events: Sequence[Event]) -> float:
    ended_s, open_s = 0.0, dict[int, float]()
    for event in events:
        if isinstance(event, RungReached):
            open_s[event.trial] = event.elapsed_s
        elif isinstance(event, TrialEnded):
            open_s.pop(event.trial, None)
            ended_s += event.elapsed_s
    return ended_s + sum(open_s.values())


def rung_courses(record: SearchRecord) -> list[RungCourse]:
    """One for each rung that a finished trial with a score reached."""
    scored = record.scored()
    stopped = Counter(len(trial.rungs) for trial in scored if trial.status == Status.STOPPED)
    correlations = {found.rung: found for found in rung_correlations(record)}
    longest = max((trial.rungs for trial in scored), key=len, default=[])
    return [
        RungCourse(
            rung=reached.rung,
            iteration=reached.iteration,
            reached=sum(len(trial.rungs) >= reached.rung for trial in scored),
            stopped=stopped[reached.rung],
            correlation=correlations.get(reached.rung),
        )
        for reached in longest
    ]
