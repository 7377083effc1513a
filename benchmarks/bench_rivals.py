"""Our algorithms against other projects' on the same landscapes: every trial runs its full budget, a few workers at once.

    pip install syne-tune        # in an environment of your own: it is not among our dependencies
    python benchmarks/bench_rivals.py [--trials 500] [--workers 8] [--landscapes 8]

Rivals are Optuna's TPE as its users run it (``study.ask`` and ``study.tell``) and Syne Tune's regularised evolution, with the
population and tournament of ours. Landscapes begin with seed 1: ours was tuned on 0. Prints the quality of the best cell
found, the difference from near_best in pairs of a landscape, each with its 95 % interval (Student's t over landscapes), and
how many searches reach the landscape's top 0.1 %.
"""

import argparse
import heapq
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from random import Random
from statistics import fmean

import optuna
from result_file import save

from models.cost import FeatureShape
from models.spec import Branch, CellSpec
from search.config import load
from search.deciding.policy import Plan
from search.deciding.space import CellSpace
from search.findings.estimates import mean, paired_difference
from search.settings.groups import Deciding
from search.simulation.compare import top_quality
from search.simulation.engine import simulate
from search.simulation.landscape import Landscape, LandscapeSettings
from search.wording import percent

OURS = ("uniform", "near_best", "evolution", "local_search", "tpe", "predictor")

Params = dict[str, int]
Rival = tuple[Callable[[], tuple[object, Params]], Callable[[object, Params, float], None]]
"""Asks for parameters, with the rival's own handle of the trial, and tells it what they score."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--landscapes", type=int, default=8)
    parser.add_argument("--algorithms", nargs="+", choices=OURS, default=OURS, metavar="NAME")
    options = parser.parse_args()
    plans = {name: plan(name, options.trials) for name in ("near_best", *options.algorithms)}
    first = plans["near_best"]
    space = first.space
    tables = [
        Landscape(LandscapeSettings(seed=seed), space, first.cost_of, tuple(first.rungs))
        for seed in range(1, options.landscapes + 1)
    ]
    goals = [top_quality(table, first, 0.001) for table in tables]
    rivals = {"Optuna's TPE": optuna_tpe}
    if find_spec("syne_tune"):
        rivals["Syne Tune's evolution"] = syne_evolution
    else:
        print("syne-tune is not installed: left out")
    print(f"{options.trials} trials, {options.workers} workers, {options.landscapes} landscapes, no early stopping")
    print(f"{'':<24}{'mIoU, %':>24}{'from near_best':>24}{'top 0.1 %':>11}{'seconds':>9}")
    found: dict[str, list[float]] = {}
    for name in (*plans, *rivals):
        started_s = time.monotonic()
        last = found[name] = []
        for seed, table in enumerate(tables, start=1):
            if name in rivals:
                curve = run_rival(rivals[name](space, seed), table, space, options.trials, options.workers, seed)
            else:
                curve = simulate(table, seeded(plans[name], seed), options.workers).quality
            last.append(curve[-1])
        reached = sum(quality >= goal for quality, goal in zip(last, goals, strict=True))
        apart = "" if name == "near_best" else paired_difference(last, found["near_best"]).text(percent)
        print(
            f"{name:<24}{mean(last).text(percent):>24}{apart:>24}{reached:>8}/{len(tables)}",
            f"{time.monotonic() - started_s:>8.0f}",
            flush=True,
        )
    base = fmean(found["near_best"])
    save(__file__, {f"{name} less near_best, points": 100 * (fmean(last) - base) for name, last in found.items()})


def plan(algorithm: str, trials: int) -> Plan:
    config = load("simulate", [f"algorithm={algorithm}", "scheduler=none", f"trials={trials}"])
    return config.read(Deciding).plan(FeatureShape(320, 49, 49))


def seeded(of_plan: Plan, seed: int) -> Plan:
    return Plan(**{**vars(of_plan), "seed": seed})


def run_rival(rival: Rival, table: Landscape, space: CellSpace, trials: int, workers: int, seed: int) -> list[float]:
    """The true quality of the best cell by observed score, after each trial."""
    ask, tell = rival
    running: list[tuple[float, int]] = []
    asked: dict[int, tuple[object, Params]] = {}
    now_s, best, curve = 0.0, (0.0, 0.0), []
    for number in range(trials + workers):
        if number >= workers:
            now_s, ended = heapq.heappop(running)
            handle, params = asked.pop(ended)
            cell = cell_of(space, params)
            score = table.scores(cell, Random(f"{seed} {cell.digest}").getrandbits(32))[-1].miou
            tell(handle, params, score)
            best = max(best, (score, table.quality(cell)))
            curve.append(best[1])
        if number < trials:
            asked[number] = ask()
            took_s = table.scores(cell_of(space, asked[number][1]), 0)[-1].elapsed_s
            heapq.heappush(running, (now_s + took_s, number))
    return curve


def cell_of(space: CellSpace, params: Params) -> CellSpec:
    branches = range(space.num_branches)
    return CellSpec(tuple(Branch(params[f"input_{i}"], space.choices[params[f"operator_{i}"]]) for i in branches))


def optuna_tpe(space: CellSpace, seed: int) -> Rival:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask() -> tuple[object, Params]:
        trial = study.ask()
        params = {f"operator_{i}": trial.suggest_categorical(f"operator_{i}", range(81)) for i in range(space.num_branches)}
        params |= {f"input_{i}": trial.suggest_categorical(f"input_{i}", range(-1, i)) for i in range(space.num_branches)}
        return trial, params

    return ask, lambda trial, params, score: study.tell(trial, score)


def syne_evolution(space: CellSpace, seed: int) -> Rival:
    import numpy as np  # noqa: PLC0415
    from syne_tune.config_space import choice  # noqa: PLC0415
    from syne_tune.optimizer.schedulers.searchers.regularized_evolution import RegularizedEvolution  # noqa: PLC0415

    np.random.seed(seed)
    names = [(f"operator_{i}", list(range(len(space.choices)))) for i in range(space.num_branches)]
    names += [(f"input_{i}", list(range(-1, i))) for i in range(1, space.num_branches)]
    searcher = RegularizedEvolution(
        {name: choice(values) for name, values in names}, population_size=50, sample_size=10, random_seed=seed
    )

    def tell(handle: object, params: Params, score: float) -> None:
        searcher.on_trial_complete(0, {name: value for name, value in params.items() if name != "input_0"}, -score)

    return lambda: (None, {"input_0": -1, **searcher.suggest()}), tell


if __name__ == "__main__":
    main()
