"""An algorithm of one's own, beside one that is there, on a landscape that costs nothing.

python examples/own_algorithm.py
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import dpc


@dataclass(frozen=True)
class Annealing:
    """Mutants of one of the best ``width`` cells, fewer as the search cools down. It keeps no state: what is killed goes on."""

    width: int = 20
    half_life: int = 25  # trials until ``width`` is half of what it was

    def propose(
        self, space: dpc.CellSpace, finished: dpc.Finished, pending: Sequence[dpc.CellSpec], rng: Random
    ) -> Iterator[dpc.CellSpec]:
        best = finished.best(max(1, round(self.width * 0.5 ** (len(finished) / self.half_life))))
        while True:  # the first that is new is scored
            yield space.mutate(rng.choice(best).cell, rng) if best else space.sample(rng)


SPACE = dpc.CellSpace(4, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 3, 6, 12])})


def smooth(cell: dpc.CellSpec) -> float:
    """From 0 to 1: cells that differ in one branch score much alike, as real ones do."""
    worth = [Random(f"{branch}").random() for branch in cell.branches]
    return sum(worth) / len(worth)


def best_of(algorithm: dpc.Algorithm, output_dir: str, trials: int = 100) -> float:
    """What a search by ``algorithm`` finds."""
    with dpc.study(SPACE, trials=trials, algorithm=algorithm, name=type(algorithm).__name__, output_dir=output_dir) as study:
        while asked := study.ask():
            study.tell(asked, smooth(asked.cell))
        best = study.record.best
        return best.miou if best and best.miou else 0.0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        algorithms: tuple[dpc.Algorithm, ...] = (dpc.Uniform(), Annealing())
        for algorithm in algorithms:
            print(f"{type(algorithm).__name__:<10} {best_of(algorithm, folder):.3f}")
