"""A training of no cell: its scores follow from cell and rung, its checkpoint holds them, and it fails as trainings do."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from random import Random

from data.system.files import write_text
from models.spec import CellSpec
from tests.lives.disk import SimPath
from tests.lives.draw import RUNGS
from tests.lives.world import World
from training.score import DivergedError, RungScore


@dataclass(frozen=True)
class Training:
    """The task of a life's trials. ``on_begin``: told each cell that is begun or gone on with, and the rungs it has done."""

    world: World
    on_begin: Callable[[CellSpec, int], None]

    def __call__(self, cell: CellSpec, seed: int, checkpoint: SimPath | None = None) -> Iterator[RungScore]:
        assert checkpoint is not None
        done = (read_metadata(checkpoint) or {"scores": []})["scores"]
        self.on_begin(cell, len(done))
        yield from (RungScore(**score) for score in list(done))
        for rung in range(len(done) + 1, len(RUNGS) + 1):
            self.world.pause(self.world.rng.uniform(1, 20))
            self._fail()
            score = score_of(cell, seed, rung)
            done.append(asdict(score))
            write_text(checkpoint, json.dumps({"scores": done}))
            yield score

    def _fail(self) -> None:
        meets = self.world.meets
        if meets("a worker hangs"):
            self.world.pause(None)
        if meets("a training diverges"):
            raise DivergedError("the loss was not finite")
        if meets("a training fails"):
            raise RuntimeError("a layer of 0 channels")
        if meets("a score is 75"):
            RungScore(1, RUNGS[0], 75.0, 1.0, 1.0)
        if meets("a score is not a number"):
            RungScore(1, RUNGS[0], float("nan"), 1.0, 1.0)
        if meets("a training is out of memory"):
            raise MemoryError
        if meets("a device fails"):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


def score_of(cell: CellSpec, seed: int, rung: int) -> RungScore:
    """What a training of ``cell`` says at a rung: the same each time."""
    return RungScore(rung, RUNGS[rung - 1], Random(f"{cell.digest} {seed} {rung}").random(), 1.0, float(rung))


def read_metadata(checkpoint: SimPath) -> dict[str, list[dict[str, float]]] | None:
    """As ``training.checkpoint.read_metadata``."""
    try:
        return json.loads(checkpoint.read_text())
    except (FileNotFoundError, ValueError):
        return None
