"""A search whose cells run wherever you have places for them: here four threads, which are told which trials are stopped early.

python examples/ask_and_tell.py
"""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from random import Random
from typing import Any

import dpc

RUNGS = (1, 3, 9)
SPACE = dpc.CellSpace(3, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 6, 12])})


def score(cell: dpc.CellSpec, seed: int, rung: int) -> float:
    """What your cluster would do: train ``cell`` up to RUNGS[rung] and give its score from 0 to 1."""
    return int(cell.digest, 16) / 2**64 * (1 - Random(seed + rung).random() / 2 / RUNGS[rung])


def search(output_dir: str | Path = "outputs", trials: int = 30, places: int = 4) -> list[dict[str, Any]]:
    """Keep all places busy; what is interrupted resumes with the same call."""
    study = dpc.study(SPACE, rungs=RUNGS, trials=trials, name="ask_and_tell", output_dir=output_dir)
    with study, ThreadPoolExecutor(places) as pool:
        running: dict[Future[float], tuple[dpc.CellProposed, int]] = {}  # each with its rung
        while True:
            while len(running) < places and (asked := study.ask()):
                running[pool.submit(score, asked.cell, asked.seed, 0)] = asked, 0
            if not running:
                return dpc.leaderboard(study.record)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                asked, rung = running.pop(future)
                if future.exception():
                    study.fail(asked, str(future.exception()))
                elif study.tell(asked, future.result()):  # whether it continues
                    running[pool.submit(score, asked.cell, asked.seed, rung + 1)] = asked, rung + 1


if __name__ == "__main__":
    for row in search()[:5]:
        print(row["rank"], f"{row['miou']:.3f}", row["status"], row["cell"])
