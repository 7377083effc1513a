"""Score cells by the proxy task, over several seeds: does context pay, and how far does a seed move a score?

    python benchmarks/bench_cells.py                                    # five cells on the embedded data set
    python benchmarks/bench_cells.py --seeds 3 --cells aspp,dpc_top1 experiment=camvid dataset.root=... backbone.weights=...

The first cell is the baseline of the ratio. The last column is the share of a trial's time that its validations take.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from unittest.mock import patch

import torch
from result_file import save
from rich.console import Console

from models.spec import CellSpec
from search.config import load
from search.deciding.space import AnyCell, CellSpace
from search.session.scoring import by_proxy
from search.settings.groups import Images, Workplace
from search.settings.named_cells import read_cell
from training.proxy import ProxyTask
from training.settings import ProxySettings

CELLS = Path(__file__).parent / "cells"
DEFAULT = "pointwise,short_rates,aspp,dpc_top1,fitting_rates"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default=DEFAULT, help="names of conf/cell/ or benchmarks/cells/, or JSON files")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("overrides", nargs="*", default=["experiment=demo"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load("search", options.overrides)
    settings = config.build("proxy", ProxySettings)
    task = by_proxy(settings, config.build("space", CellSpace), config.read(Images), config.read(Workplace), Console()).task
    print(f"python {' '.join(sys.argv)}: mIoU in % at iteration {settings.rungs[-1]}, one CPU thread a trial")
    print(f"{'cell':<16}{'seeds':>6}{'mean':>8}{'sd':>7}{'s a trial':>11}{'ratio':>8}{'validation':>12}")
    baseline, figures = None, {}
    for name in options.cells.split(","):
        cell = _cell(name)
        validation_s: list[float] = []
        with patch.object(ProxyTask, "_validate", timed(ProxyTask._validate, validation_s)):
            last = [list(task(cell, seed, None))[-1] for seed in range(options.seeds)]
        mious = [100 * score.miou for score in last]
        baseline = baseline or mean(mious)
        spread = f"{stdev(mious):.2f}" if len(mious) > 1 else "-"
        seconds = mean(score.elapsed_s for score in last)
        share = sum(validation_s) / sum(score.elapsed_s for score in last)
        print(
            f"{name:<16}{len(mious):>6}{mean(mious):>8.2f}{spread:>7}{seconds:>11.1f}{mean(mious) / baseline:>8.2f}"
            f"{share:>12.1%}",
            flush=True,
        )
        figures |= {f"{name} mIoU, %": mean(mious), f"{name} trial, s": seconds, f"{name} validation share, x": share}
    save(__file__, figures)


def timed(run: Callable[..., float], durations_s: list[float]) -> Callable[..., float]:
    """``run``, which notes how long it takes."""

    def noted(*arguments: object) -> float:
        started_s = time.perf_counter()
        result = run(*arguments)
        durations_s.append(time.perf_counter() - started_s)
        return result

    return noted


def _cell(name: str) -> CellSpec:
    own = CELLS / f"{name}.json"
    return read_cell(str(own) if own.is_file() else name, AnyCell())


if __name__ == "__main__":
    main()
