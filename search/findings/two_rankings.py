"""The best cells of a search, ranked again by a longer training: what both rankings say, and how sure the second is."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from data.system.files import write_csv
from models.spec import CellSpec
from search.deciding.outcomes import Status
from search.findings.estimates import RankCorrelation, rank_correlation, tukeys_difference
from search.findings.shrinkage import Noise
from search.journal.record import SearchRecord, TrialRecord
from search.wording import counted, percent

COLUMNS = ("rank", "digest", "miou", "shrunk", "sd", "seeds", "proxy_rank", "proxy_miou", "params", "madds", "cell")
DRAWS = 4000
"""Of what a re-ranking with other numbers of seeds would find."""
SPENT = (1, 2, 4, 8, 16, 32)
"""Numbers of seeds that are weighed."""
ENOUGH = 0.7
"""The probability of finding the best cell that is advised."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """A cell and its two scores.

    Attributes:
        proxy_rank: in the search, from 1.
        is_completed: whether the proxy scored it after its full budget, and not at an earlier rung where it was stopped.
        by_seed: mIoU of the longer training, 0 to 1, of each seed whose trial completed; of a cell that is compared, of the
            seeds that count.
    """

    cell: CellSpec
    proxy_rank: int
    proxy_miou: float
    is_completed: bool
    params: int
    madds: int
    by_seed: Mapping[int, float]

    @property
    def miou(self) -> float | None:
        """Mean over the seeds; None where no trial completed."""
        return fmean(self.by_seed.values()) if self.by_seed else None

    @property
    def score(self) -> float:
        """``miou``, of one that is known to have it."""
        return fmean(self.by_seed.values())

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds; None of fewer than two."""
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


@dataclass(frozen=True)
class Ranking:
    """Cells that were trained again, best mean first; only those with all the seeds that count are compared.

    Attributes:
        compared: cells by their mean over ``seeds``.
        others: cells with fewer seeds, whose mean would rank them by the luck of those; and those with none.
        seeds: those that count: as many as there are while more than half of the cells completed all of them.
        left_out: how many other seeds any cell completed.
    """

    compared: Sequence[Reranked]
    others: Sequence[Reranked]
    seeds: Sequence[int]
    left_out: int

    @property
    def rows(self) -> list[Reranked]:
        """All cells, as a table lists them."""
        return [*self.compared, *self.others]

    @cached_property
    def noise(self) -> Noise | None:
        """Of one training beside another under the same seed: what cell and seed, added up, leave (two-way layout)."""
        cells, seeds = len(self.compared), len(self.seeds)
        if cells < 2 or seeds < 2:
            return None
        mious_CS = np.array([[row.by_seed[seed] for seed in self.seeds] for row in self.compared])
        rest_CS = mious_CS - mious_CS.mean(1, keepdims=True) - mious_CS.mean(0) + mious_CS.mean()
        degrees = (cells - 1) * (seeds - 1)
        return Noise(sqrt(float((rest_CS**2).sum()) / degrees), degrees)

    @cached_property
    def between(self) -> float | None:
        """Standard deviation of the cells' worth: of their means, less what noise adds; 0 where noise explains it all."""
        if self.noise is None:
            return None
        variance = stdev(row.score for row in self.compared) ** 2
        return sqrt(max(variance - self.noise.sd**2 / len(self.seeds), 0.0))

    @cached_property
    def shrunk(self) -> Sequence[float | None]:
        """Each compared cell's mean, pulled towards the mean of all as far as noise explains their differences.

        Efron and Morris (1975), the estimator of James and Stein for four cells or more.
        """
        means = [row.score for row in self.compared]
        if self.noise is None or len(means) < 4:
            return [None] * len(means)
        centre = fmean(means)
        spread = sum((mean - centre) ** 2 for mean in means)
        kept = max(1 - (len(means) - 3) * self.noise.sd**2 / len(self.seeds) / spread, 0.0) if spread else 0.0
        return [centre + kept * (mean - centre) for mean in means]

    @cached_property
    def rivals(self) -> Sequence[Reranked]:
        """Cells that are statistically indistinguishable from the first, by Tukey's honest difference of all pairs at 95 %."""
        if self.noise is None:
            return self.compared[1:]
        honest = tukeys_difference(self.noise.sd, self.noise.degrees, len(self.compared), len(self.seeds))
        first = self.compared[0].score
        return [row for row in self.compared[1:] if first - row.score < honest]

    def chance(self, seeds: int) -> float | None:
        """The probability that so many seeds of as many cells put the best one first, by the measured noise."""
        if self.noise is None or not self.between:
            return None
        rng = np.random.default_rng(0)
        worth_DC = rng.normal(0, self.between, (DRAWS, len(self.compared)))
        found_DC = worth_DC + rng.normal(0, self.noise.sd / sqrt(seeds), worth_DC.shape)
        return float((worth_DC.argmax(1) == found_DC.argmax(1)).mean())

    def verdict(self) -> list[str]:
        """What the ranking says and does not say, a sentence each."""
        best, said = (
            self.compared[0],
            ["These scores chose the first, and so flatter it: confirm=4 scores it under fresh seeds."],
        )
        if self.noise is None:
            said.append(
                "Without a second seed of two cells, cells cannot be distinguished and seed noise is not known: use seeds=4 or "
                "more."
            )
        else:
            names = ", ".join(row.cell.digest[:8] for row in self.rivals)
            said.append(
                f"Statistically indistinguishable from the first: {names}."
                if names
                else "The first is distinguishable from all others."
            )
            noise = self.noise.estimate.text(percent)
            said.append(f"Standard deviation of one training: {noise} points; of the cells' worth: {_worth(self)}.")
        expected = self.shrunk[0]
        if expected is not None:
            said.append(
                f"The first is the best of {len(self.compared)} means, which flatters it by about "
                f"{percent(best.score - expected)} points: {percent(expected)} % is to be expected (shrunk mean)."
            )
        if self.others:
            lacking = ", ".join(f"{row.cell.digest[:8]} ({len(row.by_seed)} completed)" for row in self.others)
            said.append(f"Not ranked, as they have not completed the {len(self.seeds)} seeds of the others: {lacking}.")
        if self.left_out:
            said.append(f"{counted(self.left_out, 'seed')} left out, under which too few of the cells completed a training.")
        said.extend(_spending(self))
        return said


def best_cells(search: SearchRecord, top: int) -> Sequence[tuple[int, TrialRecord]]:
    """Rank and trial of the ``top`` best of a search that have a score, by its leaderboard."""
    scored = search.scored()
    return list(enumerate(scored[:top], start=1))


def reranked(chosen: Sequence[tuple[int, TrialRecord]], seeds: Sequence[SearchRecord]) -> Ranking:
    """The chosen cells by their mean mIoU over the longer trainings of some seeds."""
    rows = []
    for rank, trial in chosen:
        digest = trial.cell.digest
        by_seed = {
            seed: again.score
            for seed, record in enumerate(seeds)
            for again in record.finished
            if again.cell.digest == digest and again.status == Status.COMPLETED
        }
        is_completed = trial.status == Status.COMPLETED
        rows.append(Reranked(trial.cell, rank, trial.score, is_completed, trial.params, trial.madds, by_seed))
    counting = _seeds_that_count(rows)
    complete = [row for row in rows if counting and row.by_seed.keys() >= set(counting)]
    others = [row for row in rows if row not in complete]
    compared = [replace(row, by_seed={seed: row.by_seed[seed] for seed in counting}) for row in complete]
    by_mean = sorted(compared, key=lambda row: (-row.score, row.proxy_rank))
    left_out = len({seed for row in rows for seed in row.by_seed}) - len(counting)
    return Ranking(by_mean, sorted(others, key=lambda row: (-len(row.by_seed), row.proxy_rank)), counting, left_out)


def _seeds_that_count(rows: Sequence[Reranked]) -> list[int]:
    """Those that most cells completed first; a further one counts if more than half of the cells then still have all."""
    completed = Counter(seed for row in rows for seed in row.by_seed)
    counting: list[int] = []
    for seed in sorted(completed, key=lambda seed: (-completed[seed], seed)):
        have_all = sum(row.by_seed.keys() >= {*counting, seed} for row in rows)
        if not counting or 2 * have_all > sum(bool(row.by_seed) for row in rows):
            counting.append(seed)
    return sorted(counting)


def proxy_correlation(ranking: Ranking) -> RankCorrelation | None:
    """Between both scores of compared cells that completed the proxy: scores of earlier rungs are of another scale."""
    rows = [row for row in ranking.compared if row.is_completed]
    return rank_correlation([row.proxy_miou for row in rows], [row.score for row in rows])


def proxy_trust(ranking: Ranking) -> str:
    """What that correlation says, and what it does not count."""
    fitted, stopped = proxy_correlation(ranking), sum(not row.is_completed for row in ranking.compared)
    without = f"; {stopped} that the proxy stopped early not counted" if stopped else ""
    if fitted is None:
        return f"too few cells, or too similar, for a rank correlation{without}"
    return f"{fitted.text()}{without}; the search chose these cells, which lowers it"


def write_ranking(ranking: Ranking, path: Path) -> None:
    """Write the table of both rankings."""
    ranks = [*range(1, len(ranking.compared) + 1), *[None] * len(ranking.others)]
    shrunk = [*ranking.shrunk, *[None] * len(ranking.others)]
    rows = (
        (
            rank,
            row.cell.digest,
            row.miou,
            expected,
            row.sd,
            len(row.by_seed),
            row.proxy_rank,
            row.proxy_miou,
            row.params,
            row.madds,
            json.dumps(row.cell.to_json()),
        )
        for rank, expected, row in zip(ranks, shrunk, ranking.rows, strict=True)
    )
    write_csv(path, COLUMNS, rows)


def _worth(ranking: Ranking) -> str:
    return f"{percent(ranking.between)} points" if ranking.between else "0: noise explains all their differences"


def _spending(ranking: Ranking) -> list[str]:
    """How many seeds the measured noise asks for."""
    chances = {seeds: chance for seeds in SPENT if (chance := ranking.chance(seeds)) is not None}
    if not chances:
        return []
    found = " / ".join(f"{chance:.2f}" for chance in chances.values())
    text = f"{' / '.join(map(str, chances))} seeds of {len(ranking.compared)} such cells put the best first in {found} of cases"
    enough = next((seeds for seeds, chance in chances.items() if chance >= ENOUGH), None)
    share = f"{100 * ENOUGH:.0f} %"
    return [f"{text}: seeds={enough} for {share}." if enough else f"{text}: they are too similar to reach {share}."]
