"""Lives by their numbers: ``python -m tests.lives --seeds 10000``, or one of them with all that is said, ``--seed 4711``."""

import argparse
import sys
import time
from textwrap import shorten

from tests.lives.life import live
from tests.lives.sabotage import SABOTAGES, caught
from tests.lives.shrink import shrunk, told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lives", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many lives")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--seed", type=int, help="one life: what its drivers said, and its fewest faults if it broke a promise")
    parser.add_argument("--sabotage", action="store_true", help="spoil the search in many small ways: which life notices?")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return show(arguments.seed)
    if arguments.sabotage:
        return spoil(arguments.seeds)
    began_s, broke, steps, faults = time.process_time(), 0, 0, 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        lived = live(seed)
        steps, faults = steps + lived.steps, faults + len(lived.met)
        if lived.broken:
            broke += 1
            print(told(shrunk(lived)), flush=True)
    took_s = time.process_time() - began_s
    print(f"{arguments.seeds:,} lives, {faults:,} faults, {steps:,} steps, {took_s:.0f} s of CPU: {broke} broke a promise")
    return 1 if broke else 0


def spoil(seeds: int) -> int:
    """Each sabotage, the first life that notices it, and what it says."""
    missed = 0
    for sabotage in SABOTAGES:
        lived = caught(sabotage, seeds)
        missed += lived is None
        noticed = f"life {lived.seed} | {shorten(lived.broken[0], 100)}" if lived else f"none of {seeds} | "
        print(f"| {sabotage.module} | {sabotage.what} | {noticed} |", flush=True)
    print(f"{len(SABOTAGES) - missed} of {len(SABOTAGES)} sabotages were noticed")
    return 1 if missed else 0


def show(seed: int) -> int:
    """One life."""
    lived = live(seed)
    if lived.broken:
        lived = shrunk(lived)
    print(*lived.said, sep="\n")
    print(
        told(lived) if lived.broken else f"life {seed} kept its promises, with these faults: {', '.join(map(str, lived.met))}"
    )
    return 1 if lived.broken else 0


if __name__ == "__main__":
    sys.exit(main())
