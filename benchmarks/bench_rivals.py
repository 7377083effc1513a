"""Our algorithms against other projects' on the same landscape: every trial runs its full budget, a few workers at once.

    pip install syne-tune        # in an environment of your own: it is not among our dependencies
    python benchmarks/bench_rivals.py [--trials 500] [--workers 8] [--seeds 10]

Rivals are Optuna's TPE as its users run it (``study.ask`` and ``study.tell``) and Syne Tune's regularised evolution. Prints
the quality of the best cell found, its ratio to uniform's gain over the mean cell in the same run, and trials to the top 0.1 %.
"""

import argparse
import heapq
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from random import Random
from statistics import fmean, median, stdev

import optuna
from result_file import save

from models.cost import FeatureShape
from models.spec import Branch, CellSpec
from search.config import load
from search.deciding.policy import Plan
from search.deciding.space import CellSpace
from search.settings.groups import Deciding
from search.simulation.compare import top_quality
from search.simulation.engine import simulate
from search.simulation.landscape import Landscape, LandscapeSettings

OURS = ("uniform", "near_best", "evolution", "local_search", "tpe", "predictor")

Params = dict[str, int]
Rival = tuple[Callable[[], tuple[object, Params]], Callable[[object, Params, float], None]]
"""Asks for parameters, with the rival's own handle of the trial, and tells it what they score."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    plans = {name: plan(name, options.trials) for name in OURS}
    space = plans["uniform"].space
    settings = LandscapeSettings()
    table = Landscape(settings, space, plans["uniform"].cost_of, tuple(plans["uniform"].rungs))
    rng = Random(0)
    mean_cell = fmean(table.quality(space.sample(rng)) for _ in range(10_000))
    goal = top_quality(table, plans["uniform"], 0.001)
    rivals = {"Optuna's TPE": optuna_tpe}
    if find_spec("syne_tune"):
        rivals["Syne Tune's evolution"] = syne_evolution
    else:
        print("syne-tune is not installed: left out")
    print(f"{options.trials} trials, {options.workers} workers, {options.seeds} seeds, no early stopping")
    print(f"{'':<24}{'mIoU':>8}{'sd':>7}{'gain':>7}{'trials to top 0.1 %':>21}{'seconds':>9}")
    gain_of_uniform, figures = 0.0, {}
    for name in (*OURS, *rivals):
        started_s = time.monotonic()
        curves = []
        for seed in range(options.seeds):
            if name in rivals:
                curves.append(run_rival(rivals[name](space, seed), table, space, options.trials, options.workers, seed))
            else:
                curves.append(simulate(table, seeded(plans[name], seed), options.workers).quality)
        last = [curve[-1] for curve in curves]
        gain_of_uniform = gain_of_uniform or fmean(last) - mean_cell
        reached = [next((n for n, quality in enumerate(curve, start=1) if quality >= goal), float("inf")) for curve in curves]
        gain, spread = (fmean(last) - mean_cell) / gain_of_uniform, stdev(last) if len(last) > 1 else 0.0
        elapsed_s = time.monotonic() - started_s
        print(
            f"{name:<24}{100 * fmean(last):>8.2f}{100 * spread:>7.2f}{gain:>7.2f}{median(reached):>21.0f}{elapsed_s:>9.0f}",
            flush=True,
        )
        figures[f"{name} gain to uniform, x"] = gain
    save(__file__, figures)


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
