"""What the campaign's journals say so far: how whole models differ, and how each candidate for the proxy orders them.

python benchmarks/campaign/answers.py            # from the journals that are committed here
python benchmarks/campaign/answers.py OUTPUTS    # of a run that is still going on
"""

import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np
import numpy.typing as npt
from journals import JOURNALS, place
from scipy.stats import rankdata

from models.spec import CellSpec
from search.journal.lines import read_events
from search.journal.record import SearchRecord

HERE = Path(__file__).parent
SEQUENCES = ("0006R0", "0001TP", "0016E5")
CANDIDATES = {
    "today": ["today"],
    "one": ["one-0006R0"],
    "folds": [f"one-{held}" for held in SEQUENCES],
    "views": ["views"],
    "long": ["long"],
    "tuned": [f"tuned-{held}" for held in SEQUENCES],
    "small": ["small"],
}
"""The studies whose scores a candidate averages; seed n of each is the journal NAME-s<n>."""
NAMED = 4
"""The first cells of the list, which were not drawn: ASPP, the published cell, and two that a search found."""
RESAMPLES = 10_000
FEWEST = 8
"""Of fewer cells an interval would say nothing."""
SEEDS = (0, 1)

Scores = dict[str, float]
"""mIoU by the cell's digest."""


def main() -> None:
    """Print both answers as Markdown."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else JOURNALS
    cells = [CellSpec.from_json(entry) for entry in json.loads((HERE / "cells.json").read_text())]
    every = [cell.digest for cell in cells]
    groups = {
        f"all {len(cells)}": every,
        "uniform": every[NAMED:],
        "five branches": [cell.digest for cell in cells if len(cell) == 5],
    }
    whole = [_scores(folder, f"whole-s{seed}") for seed in SEEDS]
    print(f"Whole models: {len(whole[0])} cells under seed {SEEDS[0]}, {len(whole[1])} under seed {SEEDS[1]}\n")
    for name, digests in groups.items():
        print(_variation(name, digests, whole))
    print("\n| candidate | cells | with whole models | test and retest | corrected |\n|---|---|---|---|---|")
    for candidate, studies in CANDIDATES.items():
        seeds = [_averaged([_scores(folder, f"{study}-s{seed}") for study in studies]) for seed in SEEDS]
        for name, digests in groups.items():
            print(f"| {candidate} | {name} | {_agreement(seeds, whole, digests)} |")
    print("\n| two orders, one seed | rho |\n|---|---|")
    for first, second in combinations(("whole", "today", *CANDIDATES["folds"]), 2):
        pair = [_scores(folder, f"{study}-s0") for study in (first, second)]
        print(f"| {first}, {second} | {_interval(every, pair[:1], pair[1])} |")
    columns = ("whole", *CANDIDATES["folds"])
    print("\n| cell | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    scores = [_scores(folder, f"{study}-s0") for study in columns]
    for digest in every:
        print(f"| {digest} | " + " | ".join(f"{100 * one[digest]:.1f}" if digest in one else "" for one in scores) + " |")


def _scores(folder: Path, name: str) -> Scores:
    """Of the trials that have completed."""
    found = [path for path in (place(folder, name), folder / f"{name}.jsonl.gz") if path.exists()]
    if not found:
        return {}
    record = SearchRecord(read_events(found[0])[0])
    return {
        trial.cell.digest: trial.miou for trial in record.finished if trial.status == "completed" and trial.miou is not None
    }


def _averaged(studies: Sequence[Scores]) -> Scores:
    """The mean over the studies of each cell that has a score in all of them."""
    digests = set(studies[0]).intersection(*studies[1:])
    return {digest: fmean(scores[digest] for scores in studies) for digest in digests}


def _agreement(seeds: Sequence[Scores], whole: Sequence[Scores], digests: Sequence[str]) -> str:
    """Three columns. A search sees one seed of a proxy: rho is the mean over those. A whole model has the mean of its seeds."""
    goal, seeds = _averaged(whole), [scores for scores in seeds if scores]
    both = [digest for digest in digests if all(digest in scores for scores in (*seeds, goal))]
    with_goal = _interval(both, seeds, goal)
    if len(seeds) < 2:
        return f"{with_goal} | not yet | not yet"
    retest = _interval(digests, seeds[:1], seeds[1])
    if len(both) < FEWEST:
        return f"{with_goal} | {retest} | not yet"
    of_proxy, of_whole = (_spearman(both, pair[:1], pair[1]) for pair in (seeds, whole))
    if min(of_proxy, of_whole) <= 0:
        return f"{with_goal} | {retest} | not defined"
    of_means = 2 * of_whole / (1 + of_whole)  # Spearman and Brown: the mean of two seeds repeats itself better than one
    return f"{with_goal} | {retest} | {_spearman(both, seeds, goal) / np.sqrt(of_proxy * of_means):.2f}"


def _interval(digests: Sequence[str], seeds: Sequence[Scores], goal: Scores) -> str:
    """The mean rho of some seeds with a goal, and its percentile bootstrap interval over cells."""
    both = [digest for digest in digests if all(digest in scores for scores in (*seeds, goal))]
    if len(both) < FEWEST or not seeds:
        return f"{len(both) if seeds else 0} cells: too few"
    rng = Random(0)
    drawn = [_spearman(rng.choices(both, k=len(both)), seeds, goal) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return f"{_spearman(both, seeds, goal):.2f} ({low:.2f} to {high:.2f}), {len(both)} cells"


def _spearman(digests: Sequence[str], seeds: Sequence[Scores], goal: Scores) -> float:
    """The mean over ``seeds`` of rho with ``goal``."""
    ranks = [rankdata([scores[digest] for digest in digests]) for scores in (goal, *seeds)]
    return fmean(float(np.corrcoef(ranks[0], of_seed)[0, 1]) for of_seed in ranks[1:])


def _variation(name: str, digests: Sequence[str], seeds: Sequence[Scores]) -> str:
    """Standard deviations, in points, by the two-way layout: cell, seed, and the rest, which is one cell under one seed."""
    both = [digest for digest in digests if all(digest in scores for scores in seeds)]
    if len(both) < FEWEST:
        return f"{name}: {len(both)} cells under every seed, too few"
    points_CS = 100 * np.array([[scores[digest] for scores in seeds] for digest in both])
    rng = np.random.default_rng(0)
    drawn = [_deviations(points_CS[rng.integers(0, len(both), len(both))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    parts = zip(("between cells", "between seeds", "rest"), _deviations(points_CS), low, high, strict=True)
    return f"{name}, {len(both)} cells: " + ", ".join(f"sd {part} {sd:.2f} ({a:.2f} to {b:.2f})" for part, sd, a, b in parts)


def _deviations(points_CS: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    cells, seeds = points_CS.shape
    of_cells, of_seeds = points_CS.mean(1, keepdims=True), points_CS.mean(0, keepdims=True)
    rest = ((points_CS - of_cells - of_seeds + points_CS.mean()) ** 2).sum() / ((cells - 1) * (seeds - 1))
    between_cells = of_cells.var(ddof=1) - rest / seeds
    between_seeds = of_seeds.var(ddof=1) - rest / cells
    return np.sqrt(np.maximum(0, np.array([between_cells, between_seeds, rest])))


if __name__ == "__main__":
    main()
