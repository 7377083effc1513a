"""What somebody writes who implements each Protocol of ``dpc``, for mypy: of what is given back, the types are known.

The errors at its end must be found. Read by ``tests/test_dpc_types.py``, never run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import assert_type

import dpc


@dataclass(frozen=True)
class Two:
    """A family of operators."""

    def operators(self) -> Sequence[dpc.Operator]:
        return dpc.Conv1x1(), dpc.AtrousConv((1, 3))


@dataclass(frozen=True)
class Best:
    """An algorithm."""

    def propose(
        self, space: dpc.CellSpace, finished: dpc.Finished, pending: Sequence[dpc.CellSpec], rng: Random
    ) -> Iterator[dpc.CellSpec]:
        assert_type(finished.best(1)[0], dpc.Evaluation)
        assert_type(finished[0].status, dpc.Status)
        while True:
            yield space.sample(rng)


@dataclass(frozen=True)
class Halves:
    """A scheduler."""

    def bracket(self, trial: int) -> int:
        return 0

    def standing(self, iterations: Sequence[int], mious: Sequence[float]) -> float:
        return mious[-1]

    def decide(self, trial: int, iterations: Sequence[int], mious: Sequence[float], peers: Sequence[float]) -> dpc.Decision:
        return dpc.Decision(mious[-1] > 0.5, "half")


@dataclass(frozen=True)
class OneImage:
    warnings: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dpc.Sample:
        raise dpc.DatasetError("none")

    def extent_px(self) -> tuple[int, int]:
        return 1, 1

    def image_digests(self, digests: dpc.FileDigests) -> Sequence[str]:
        return digests.of([])

    def fingerprint(self, digests: dpc.FileDigests) -> str:
        return ""


@dataclass(frozen=True)
class Mine:
    """A data set, and above one of its splits."""

    info: dpc.DatasetInfo
    folds: int | None = None

    def split(self, name: str) -> dpc.Split:
        return OneImage()


def objective(cell: dpc.CellSpec, seed: int) -> Iterator[float]:
    yield 0.5


def enough(search: dpc.RunningSearch, event: dpc.Event) -> None:
    if search.record.num_ended > 5:
        search.stop("five")


def score(asked: dpc.CellProposed) -> float:
    return 1 / asked.params


def use() -> None:
    data: dpc.SegmentationDataset = Mine(dpc.Shapes().info)
    assert_type(data.split("train")[0], dpc.Sample)
    family: dpc.OperatorFamily = Two()
    scheduler: dpc.Scheduler = Halves()
    callback: dpc.Callback = enough
    space = dpc.CellSpace(3, {"two": family, "pooling": dpc.PyramidPoolings([1])})
    assert_type(space.sample(Random(0)), dpc.CellSpec)
    found = dpc.search(space, objective, algorithm=Best(), scheduler=scheduler, callbacks=[callback, enough])
    assert_type(found, dpc.SearchRecord)
    assert_type(found.best, dpc.TrialRecord | None)
    assert_type(found.ranked()[0].miou, float | None)
    with dpc.study(space, algorithm=dpc.Tpe()) as study:
        while asked := study.ask():
            assert_type(study.tell(asked, score(asked)), bool)
    dpc.study(space, trials="many")  # type: ignore[arg-type]
    print(dpc.Segmentor)  # type: ignore[attr-defined]
