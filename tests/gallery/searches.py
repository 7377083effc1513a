"""Searches that never ran, of any size: journals whose scores a landscape makes up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from models.cost import FeatureShape, cell_cost
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.journal.events import CellProposed, Event, RungReached, SearchOpened, TrialEnded, now_s
from search.journal.lines import BEGIN, encode
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.session.described import described
from search.simulation.landscape import Landscape, LandscapeSettings
from training.score import RungScore

RUNGS = (50, 100, 200, 400)
FEATURES = FeatureShape(320, 49, 49)
SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
FAILING, BAD = 0.03, 0.01
"""Shares of trials without a score, and of those whose score is far below all others."""


def write_search(path: Path, name: str, trials: int, repeats: int = 0) -> None:
    """The journal of a search of so many trials, without waiting for the disk at each line."""
    cost_of, rng = partial(cell_cost, features=FEATURES), Random(0)
    table = Landscape(LandscapeSettings(), SPACE, cost_of, RUNGS)
    algorithm: Algorithm = Uniform() if trials > 1000 else NearBest()
    plan = Plan(SPACE, algorithm, Asha(RUNGS[0]), RUNGS, trials, 0, cost_of, repeats=repeats)
    known = {
        "space": described(SPACE),
        "algorithm": described(algorithm),
        "scheduler": described(plan.scheduler),
        "proxy": {"rungs": list(RUNGS), "cell": {"filters": 256}},
        "dataset": {"kind": "data.datasets.camvid.CamVid", "root": "my data", "holdout_sequence": "0006R0", "folds": None},
        "backbone": {"name": "tu-mobilenetv2_100", "output_stride": 16, "weights": "hub", "pad_type": "same", "seed": 0},
        "features": {"shape": [320, 49, 49]},
        "seed": 0,
        "scoring_code": "0123456789abcdef",
        "search_code": "fedcba9876543210",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        lines = _Lines(file.write)
        study = Study(lines, SearchRecord(), plan, SearchOpened(name, known, {**known, "trials": trials}, now_s()))
        while (proposed := study.propose()) is not None:
            if rng.random() < FAILING:
                study.failed(proposed.trial, Status.DIVERGED, "the loss is nan")
                continue
            lost = 0.4 if rng.random() < BAD and proposed.repeats is None else 0.0
            for score in table.scores(proposed.cell, proposed.seed):
                if not study.reached(proposed.trial, _worse(score, lost)):
                    break
        study.close()


def write_reranking(folder: Path, record: SearchRecord, seeds: int, top: int) -> None:
    """A re-ranking of the best cells of a search, under so many seeds."""
    rng = Random(1)
    best = [trial for trial in record.ranked() if trial.miou is not None][:top]
    gains = [0.08 + 0.02 * rng.random() for _ in best]
    for seed in range(seeds):
        events: list[Event] = [SearchOpened("re-ranked", {}, {}, 0.0)]
        for number, (trial, gain) in enumerate(zip(best, gains, strict=True)):
            assert trial.miou is not None
            score = RungScore(1, 1000, trial.miou + gain + 0.004 * rng.gauss(0, 1), 0.3, 60.0)
            events += _trial(number, trial.proposed, score)
        _write(folder / "rerank" / f"seed-{seed}" / "journal.jsonl", events)


def _trial(number: int, proposed: CellProposed, score: RungScore) -> list[Event]:
    return [
        replace(proposed, trial=number, repeats=None),
        RungReached(number, 1, score.iteration, score.miou, score.loss, score.elapsed_s, False, "", 0.0),
        TrialEnded(number, Status.COMPLETED, "", score.elapsed_s, 0.0),
    ]


def _worse(score: RungScore, lost: float) -> RungScore:
    return replace(score, miou=max(0.02, score.miou - lost)) if lost else score


def _write(path: Path, events: Sequence[Event]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        _Lines(file.write).append(*events)


class _Lines:
    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self._end = write, BEGIN

    def append(self, *events: Event) -> None:
        for event in events:
            line, self._end = encode(event, self._end)
            self._write(line)
