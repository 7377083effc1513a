"""How far a search's scores are luck, by the cells that it scored twice; and what its best cells are worth without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

from search.deciding.outcomes import Status
from search.findings.estimates import Estimate, within_sd
from search.findings.shrinkage import Noise, Shrunk
from search.journal.record import SearchRecord, TrialRecord
from search.wording import counted, percent

FEWEST = 2
"""Cells that must have been scored twice."""
LIKELY = 0.05
"""A cell that beats another with at least this probability is statistically indistinguishable from it."""


@dataclass(frozen=True)
class SearchNoise:
    """What a search says of its own scores.

    Attributes:
        noise: standard deviation of a score between seeds.
        between: of completed cells' worth.
        repeated: cells that were scored twice.
        best: the leaderboard's first that completed.
        expected: by trial, what a completed cell would score under a fresh seed.
        rivals: completed cells that are statistically indistinguishable from ``best``.
    """

    noise: Noise
    between: float
    repeated: int
    best: TrialRecord
    expected: Mapping[int, Estimate]
    rivals: Sequence[TrialRecord]

    @property
    def reliability(self) -> float:
        """The share of the variance between completed cells' scores that is not luck: the correlation of two seeds' scores."""
        return self.between**2 / (self.between**2 + self.noise.sd**2)

    def of(self, trial: TrialRecord) -> float | None:
        """What a cell is expected to score under a fresh seed; None where it has no score at the last rung."""
        found = self.expected.get(trial.number)
        return found.value if found else None

    def text(self) -> str:
        """All of it, in words."""
        expected, found = self.expected[self.best.number], self.best.miou
        assert found is not None
        less = found - expected.value
        fall = f"{percent(abs(less))} {'less' if less >= 0 else 'more'}"
        others = f"{counted(len(self.rivals), 'other cell')} {'is' if len(self.rivals) == 1 else 'are'}"
        return (
            f"Noise, by {self.repeated} cells scored twice: standard deviation {self.noise.estimate.text(percent)} points "
            f"between seeds, {percent(self.between)} between completed cells, reliability {self.reliability:.2f}. Under a "
            f"fresh seed the best is expected to score {expected.text(percent)} %, {fall} than was "
            f"found; {others} statistically indistinguishable from it."
        )


def search_noise(record: SearchRecord) -> SearchNoise | None:
    """None while fewer than ``FEWEST`` cells were scored twice, or where no score differed."""
    completed = record.completed()
    scores = {trial.number: [trial.score] for trial in completed}
    for again in record.repeats.values():
        if again.status == Status.COMPLETED and again.proposed.repeats in scores:
            scores[again.proposed.repeats].append(again.score)
    repeated = [group for group in scores.values() if len(group) > 1]
    sd = within_sd(repeated)
    if len(repeated) < FEWEST or not sd or len({trial.score for trial in completed}) < 2:
        return None
    noise = Noise(sd, sum(len(group) - 1 for group in repeated))
    shrunk = Shrunk([fmean(group) for group in scores.values()], [len(group) for group in scores.values()], noise)
    between = sqrt(max(variance([group[0] for group in scores.values()]) - sd**2, 0.0))
    expected = {number: shrunk.worth(place) for place, number in enumerate(scores)}
    rivals = [trial for place, trial in enumerate(completed) if place and shrunk.chance_to_beat(place, 0) >= LIKELY]
    return SearchNoise(noise, between, len(repeated), completed[0], expected, rivals)
