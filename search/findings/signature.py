"""A search in one picture: what every scored cell costs and scores, which are the best for their cost, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.deciding.algorithms.pareto import pareto_front
from search.deciding.outcomes import Status
from search.findings.cost_front import Landmark
from search.findings.estimates import Estimate
from search.findings.search_noise import search_noise
from search.journal.record import SearchRecord, TrialRecord

LETTERS = "ABC"
"""Of the best cells of the front."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What the picture shows.

    Attributes:
        completed, stopped: cells with a score, best first; the score of a stopped one is that of the rung where it ended.
        front: the completed cells that none betters in score without more multiply-adds, cheapest first.
        expected: by trial, what a cell of the front would score under a fresh seed, where the search scored cells twice.
        repeated: by trial, the further scores of a completed cell under other seeds.
        scored_on: what gave the scores, as ``SearchRecord`` has it.
    """

    completed: Sequence[TrialRecord]
    stopped: Sequence[TrialRecord]
    front: Sequence[TrialRecord]
    expected: Mapping[int, Estimate]
    repeated: Mapping[int, Sequence[float]]
    landmarks: Sequence[Landmark]
    scored_on: str

    @property
    def lettered(self) -> Mapping[str, TrialRecord]:
        """The best of the front, the best first."""
        return dict(zip(LETTERS, reversed(self.front), strict=False))


def signature(record: SearchRecord, landmarks: Sequence[Landmark] = ()) -> Signature:
    """What the picture of a search shows, whatever the search's state."""
    scored = record.scored()
    completed = [trial for trial in scored if trial.status == Status.COMPLETED]
    front = [record.trials[one.trial] for one in pareto_front([trial.evaluation() for trial in completed], "madds")]
    noise, repeated = search_noise(record), dict[int, list[float]]()
    for again in record.repeats.values():
        first = again.proposed.repeats
        if first is not None and again.status == Status.COMPLETED:
            repeated.setdefault(first, []).append(again.score)
    expected = {trial.number: noise.expected[trial.number] for trial in front} if noise else {}
    stopped = [trial for trial in scored if trial.status == Status.STOPPED]
    return Signature(completed, stopped, front, expected, repeated, landmarks, record.scored_on)
